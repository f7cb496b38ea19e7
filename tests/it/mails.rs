//! Mail: what a server's answers mean, whatever they look like, and how it is encrypted.

use std::{fs, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tripline::{
    engine::{
        alert::AlertState,
        dispatch::{NotificationId, Outcome},
    },
    notify::Notifier,
    tls,
};

use crate::{
    certificates::sign,
    contract_notify::{EVIL, alert, build, notification, one_alert, to, told},
    fake_receivers::FakeSmtp,
};

const ANN: &str = "a@example.org";
const BOB: &str = "b@example.org";

fn email(smtp: &FakeSmtp) -> Arc<dyn Notifier> {
    let yaml = format!(
        "to: [a@example.org, b@example.org, c@example.org]\nfrom: Tripline <t@example.org>\n\
         smarthost: '{}'\ntls: none\n",
        smtp.address()
    );
    build("email", &yaml)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn mails_of_a_group_are_one_thread_and_headers_hold_no_line_breaks() {
    let smtp = FakeSmtp::start().await;
    let notifier = email(&smtp);
    let mut news = notification(vec![alert(EVIL, AlertState::Resolved)]);
    news.id = NotificationId([8; 16]);
    for told_about in [one_alert(), one_alert(), news] {
        for recipient in [ANN, BOB] {
            let outcome = notifier.notify(&to(recipient, told_about.clone())).await;
            assert_eq!(told(&outcome).0, "delivered");
        }
    }
    let mails = smtp.mails();
    assert_eq!(mails.len(), 6, "each recipient by himself");
    let header = |mail: &str, name: &str| {
        let head = mail.split_once("\r\n\r\n").unwrap().0.replace("\r\n ", " ");
        let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
    };
    let of = |number: usize, name: &str| header(&mails[number].text, name);
    assert_eq!(of(0, "Message-ID"), of(2, "Message-ID"), "an attempt more is the same mail");
    assert_ne!(of(0, "Message-ID"), of(4, "Message-ID"));
    for number in [0, 2, 4] {
        assert_eq!(of(number, "References"), of(0, "References"));
        assert_eq!(of(number, "In-Reply-To"), of(0, "References"));
        assert_eq!(of(number, "Auto-Submitted"), "auto-generated");
    }
    let head = mails[4].text.split_once("\r\n\r\n").unwrap().0;
    assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{head}");
    let html = mails[4].text.split_once("text/html").unwrap().1;
    assert!(html.contains("&lt;!channel") && !html.contains("<!channel"), "{html}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_mail_server_says_decides() {
    let smtp = FakeSmtp::start().await;
    let notifier = email(&smtp);
    for (line, expected) in [
        ("451 4.7.1 greylisted, come back later", ("retry", "server_error")),
        ("421 4.3.2 going down", ("retry", "server_error")),
        ("220 hello again", ("retry", "server_error")),
        ("354 go on", ("retry", "server_error")),
        ("550 5.1.1 no such mailbox", ("rejected", "client_error")),
        ("554 5.7.1 we know you", ("rejected", "client_error")),
        ("535 5.7.8 who are you", ("rejected", "auth_error")),
        ("552 5.3.4 too much", ("rejected", "too_large")),
        ("571 5.7.1 not from you", ("rejected", "client_error")),
    ] {
        smtp.refuse(BOB, line);
        let outcome = notifier.notify(&to(BOB, one_alert())).await;
        assert_eq!((told(&outcome).0, told(&outcome).1), expected, "{line}");
        let (Outcome::Retry { detail, .. } | Outcome::Rejected { detail, .. }) = &outcome else {
            panic!("{outcome:?}")
        };
        assert!(detail.contains(&line[4..]), "{detail} has the server's words");
    }
    assert_eq!(smtp.recipients(), [""; 0]);
    let outcome = notifier.notify(&to(BOB, one_alert())).await;
    let Outcome::Delivered { receipt: Some(receipt) } = outcome else { panic!("{outcome:?}") };
    assert_eq!(receipt.values["answer"], "250 kept");
    smtp.stop().await;
    assert_eq!(told(&notifier.notify(&to(BOB, one_alert())).await).0, "retry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_code_of_a_mail_server_counts_and_not_how_it_writes_its_words() {
    let smtp = FakeSmtp::start().await;
    let notifier = email(&smtp);
    for (line, expected) in [
        (&b"250 2.0.0 Nachricht \xfcbernommen"[..], "delivered"),
        (b"250", "delivered"),
        (b"554 5.7.1 \xfcbel", "rejected"),
        (b"451 4.7.1 sp\xe4ter", "retry"),
    ] {
        smtp.say_behind_mails(line);
        let outcome = notifier.notify(&to(BOB, one_alert())).await;
        assert_eq!(told(&outcome).0, expected, "{outcome:?}");
    }
    // Without a bound the attempt would last for minutes, and take what memory there is.
    smtp.say_behind_mails(&[b"250 ", &vec![b'x'; 1 << 20][..]].concat());
    let outcome = notifier.notify(&to(BOB, one_alert())).await;
    let Outcome::Retry { detail, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(detail.contains("a line of the answer has more than 65536 bytes"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_recipient_at_whom_the_server_hangs_holds_up_nobody() {
    let smtp = FakeSmtp::start().await;
    let notifier = email(&smtp);
    smtp.hang(ANN);
    let (hanging, other) = (to(ANN, one_alert()), to(BOB, one_alert()));
    tokio::select! {
        outcome = notifier.notify(&hanging) => panic!("{outcome:?} of a server that says nothing"),
        outcome = notifier.notify(&other) => assert_eq!(told(&outcome).0, "delivered"),
    }
    assert_eq!(smtp.recipients(), [BOB]);
}

/// Answers what a client says until it hangs up, and notes that, but for mails. Whether to encrypt now.
async fn answer(
    stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    offers: &str,
    said: &mut Vec<String>,
) -> bool {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
        let line = line.trim_end().to_owned();
        said.push(line.clone());
        let words = match line.split([' ', ':']).next().unwrap() {
            "EHLO" => offers,
            // There is more behind it, as somebody in between could put it there.
            "STARTTLS" => "220 go on\r\n250-fake\r\n250 AUTH PLAIN",
            "AUTH" => "334 VXNlcm5hbWU6",
            "dHJpcGxpbmU=" => "334 UGFzc3dvcmQ6",
            "MAIL" | "RCPT" => "250",
            "DATA" => {
                stream.write_all(b"354\r\n").await.unwrap();
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    assert_ne!(stream.read_line(&mut mail).await.unwrap(), 0);
                }
                "250 kept"
            }
            _ => "235 come in",
        };
        stream.write_all(format!("{words}\r\n").as_bytes()).await.unwrap();
        if line == "STARTTLS" {
            return true;
        }
    }
}

/// One session, encrypted from the beginning or after a server has offered this.
async fn serve(listener: &TcpListener, tls: TlsAcceptor, offers: Option<&str>) -> Vec<String> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut said = Vec::new();
    if let Some(offers) = offers {
        stream.write_all(b"220 fake\r\n").await.unwrap();
        let mut plain = BufReader::new(stream);
        if !answer(&mut plain, offers, &mut said).await {
            return said;
        }
        stream = plain.into_inner();
    }
    let Ok(stream) = tls.accept(stream).await else { return said };
    let mut stream = BufReader::new(stream);
    if offers.is_none() {
        stream.write_all(b"220 fake\r\n").await.unwrap();
    }
    answer(&mut stream, "250-fake\r\n250-SMTPUTF8\r\n250 AUTH LOGIN", &mut said).await;
    said
}

/// A login is told to nobody but a server that is who it should be, in the way that it offers once it is encrypted.
#[tokio::test]
async fn what_is_told_before_encryption_counts_no_longer() {
    const REST: [&str; 8] = [
        "EHLO here",
        "AUTH LOGIN",
        "dHJpcGxpbmU=",
        "czNrcmV0LXMza3JldC1zM2tyZXQ=",
        "MAIL FROM:<t@example.org> SMTPUTF8",
        "RCPT TO:<b\u{f8}b@example.org>",
        "DATA",
        "QUIT",
    ];
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    sign(directory.path(), &[("ca", "server"), ("other", "stranger")]);
    let chain = tls::certificates(&fs::read(file("server.pem")).unwrap()).unwrap();
    let key = fs::read(file("server.key")).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls::server(chain, &key, None).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let rest = |before: &[&'static str]| [before, &REST].concat();
    for (tls, ca, offers, outcome, expected) in [
        ("implicit", "ca", None, "", rest(&[])),
        (
            "starttls",
            "ca",
            Some("250-fake\r\n250-STARTTLS\r\n250 AUTH PLAIN"),
            "",
            rest(&["EHLO here", "STARTTLS"]),
        ),
        (
            "starttls",
            "ca",
            Some("250-fake\r\n250 AUTH PLAIN"),
            "STARTTLS: the server does not offer it",
            vec!["EHLO here"],
        ),
        ("implicit", "other", None, "connect: invalid peer certificate", vec![]),
        (
            "starttls",
            "other",
            Some("250-fake\r\n250-STARTTLS\r\n250 AUTH PLAIN"),
            "STARTTLS: invalid peer certificate",
            vec!["EHLO here", "STARTTLS"],
        ),
    ] {
        let yaml = format!(
            "to: [b\u{f8}b@example.org]\nfrom: t@example.org\nsmarthost: '127.0.0.1:{port}'\nhello: here\n\
             tls: {tls}\nca_file: {}\nusername: tripline\npassword: SECRET\n",
            file(&format!("{ca}.pem")).display()
        );
        let notifier = build("email", &yaml);
        let mail = to("b\u{f8}b@example.org", one_alert());
        let (became, said) =
            tokio::join!(notifier.notify(&mail), serve(&listener, acceptor.clone(), offers));
        match &became {
            Outcome::Delivered { .. } => assert_eq!(outcome, "", "{tls} {ca}"),
            Outcome::Retry { detail, .. } | Outcome::Rejected { detail, .. } => {
                assert!(!outcome.is_empty() && detail.starts_with(outcome), "{detail}");
            }
        }
        assert_eq!(said, expected, "{tls} {ca} {offers:?}");
    }
}
