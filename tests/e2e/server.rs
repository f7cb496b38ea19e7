//! The HTTP server over TLS and with credentials, which change while it runs. Needs no service.

use std::{fs, path::Path};

use crate::{
    harness::{block_on, eventually, scratch, tls, tripline::Tripline},
    rules::SECRET_READ,
};

/// A source that nobody answers: the server works all the same.
const CONFIG: &str = "sources: [{kafka: {brokers: ['127.0.0.1:1'], topics: [t], group: t}}]
receivers: [{name: out, stdout: {}}]
route: {receiver: out}
";

/// Asks as whoever has this token and trusts this authority; the status, if there is one.
fn ask(url: &str, authority: &Path, token: Option<&str>) -> Option<(u16, String)> {
    let authorities = ::tripline::tls::certificates(&fs::read(authority).unwrap()).unwrap();
    block_on(async {
        let client = ::tripline::tls::http(authorities).unwrap().no_proxy().build().unwrap();
        let mut request = client.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    })
}

#[test]
fn certificates_and_tokens_are_taken_as_they_change() {
    let directory = scratch("server-tls");
    let (first, second) = (directory.path().join("a"), directory.path().join("b"));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    let (first, second) = (tls::make(&first), tls::make(&second));
    let mut tripline = Tripline::new(CONFIG, &[SECRET_READ]);
    let http = "tls: {cert_file: ./tls.crt, key_file: ./tls.key}, bearer_token_file: ./token";
    tripline.configure_http(http, CONFIG);
    for (name, from) in [("tls.crt", &first.certificate), ("tls.key", &first.key)] {
        fs::copy(from, tripline.path().join(name)).unwrap();
    }
    tripline.write("token", "sesame\n");
    tripline.start();
    let url = |path: &str| tripline.url(path).replace("http://127.0.0.1", "https://localhost");
    let (health, metrics, ready) = (url("/healthz"), url("/metrics"), url("/readyz"));
    eventually("it is alive, over TLS and for everybody", || {
        ask(&health, &first.ca, None).filter(|(code, _)| *code == 200)
    });
    assert_eq!(ask(&health, &second.ca, None), None, "the authority is a stranger");
    assert_eq!(block_on(reqwest_plain(&tripline.url("/healthz"))), None, "not without TLS");
    let status = |url: &str, token: Option<&str>| ask(url, &first.ca, token).unwrap().0;
    assert_eq!(status(&metrics, None), 401);
    assert_eq!(status(&metrics, Some("wrong")), 401);
    assert_eq!(status(&metrics, Some("sesame")), 200);
    let (_, shown) = ask(&ready, &first.ca, None).unwrap();
    assert_eq!(shown, "not ready\n", "why not is not for everybody");

    tripline.write("token", "open\n");
    assert_eq!(status(&metrics, Some("open")), 200, "the new token is taken at once");
    eventually("the old token is none any more", || {
        (status(&metrics, Some("sesame")) == 401).then_some(())
    });

    for (name, from) in [("tls.key", &second.key), ("tls.crt", &second.certificate)] {
        fs::copy(from, tripline.path().join(name)).unwrap();
    }
    eventually("the new certificate is shown", || {
        ask(&health, &second.ca, None).filter(|(code, _)| *code == 200)
    });
    let log = tripline.log();
    assert!(!log.contains("sesame"), "{log}");
    tripline.kill();
}

async fn reqwest_plain(url: &str) -> Option<u16> {
    let client = ::tripline::tls::http(Vec::new()).ok()?.no_proxy().build().ok()?;
    Some(client.get(url).send().await.ok()?.status().as_u16())
}
