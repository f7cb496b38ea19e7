//! One mail to one recipient over SMTP, with a time limit for each step as RFC 5321 has them.
//!
//! The limits are generous on purpose (section 4.5.3.2): a server that is slow behind `DATA` has taken
//! the mail, and whoever does not wait for it to say so sends the mail twice. Each recipient has a
//! connection of its own, so one that hangs holds up nobody else.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use lettre::{
    Address,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt, Starttls},
        extension::{ClientId, Extension, MailParameter},
        response::Response,
    },
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::smtp_lines::Lines;
use crate::engine::{
    dispatch::{Outcome, OutcomeReason},
    text,
};

/// For TCP, implicit TLS, the greeting and what follows `EHLO`: 6 minutes, 5 of them for the greeting.
const CONNECT_MAX: Duration = Duration::from_secs(360);

/// For `STARTTLS`, `AUTH`, `MAIL` and `RCPT`: 5 minutes each.
const COMMAND_MAX: Duration = Duration::from_secs(300);

/// For `DATA`: 2 minutes.
const DATA_MAX: Duration = Duration::from_secs(120);

/// For the mail (3 minutes for each block of it) and what the server says behind it (10 minutes).
const MAIL_MAX: Duration = Duration::from_secs(780);

/// For saying good-bye, which nobody depends on: 5 seconds.
const QUIT_MAX: Duration = Duration::from_secs(5);

/// All limits together, and a little more.
pub(super) const ATTEMPT_MAX: Duration = Duration::from_secs(
    CONNECT_MAX.as_secs()
        + 4 * COMMAND_MAX.as_secs()
        + DATA_MAX.as_secs()
        + MAIL_MAX.as_secs()
        + 60,
);

/// Characters that are shown of what a server says.
const WORDS_CHARACTERS_MAX: usize = 200;

/// How mail leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    StartTls,
    Implicit,
    None,
}

/// A mail server, and how to speak to it.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) hello: ClientId,
    pub(super) login: Option<Credentials>,
}

/// Where a dialogue ended, and why.
struct Failure {
    step: &'static str,
    why: Why,
}

enum Why {
    /// The server did not answer in time.
    NoAnswer,
    /// There is no server, or the connection broke.
    Broken(io::Error),
    /// It refused, or what it says is no answer.
    Error(Error),
    /// It said yes to something else: it and we are not at the same place of the dialogue.
    OutOfTurn(String),
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Why {
        Why::Broken(error)
    }
}

impl From<Error> for Why {
    fn from(error: Error) -> Why {
        Why::Error(error)
    }
}

impl Server {
    /// Delivers a mail to one recipient. Returns what the server said when it took it, or what follows
    /// from what it said otherwise.
    pub(super) async fn deliver(
        &self,
        from: &Address,
        to: &Address,
        mail: &[u8],
    ) -> Result<String, Outcome> {
        self.converse(from, to, mail).await.map_err(Failure::outcome)
    }

    async fn converse(&self, from: &Address, to: &Address, mail: &[u8]) -> Result<String, Failure> {
        let mut connection = self.connect().await?;
        let taken = self.hand_over(&mut connection, from, to, mail).await;
        // Whatever it says now, the mail is taken or it is not.
        drop(tokio::time::timeout(QUIT_MAX, connection.abort()).await);
        taken
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let mut connection = match self.encryption {
            Encryption::Implicit => within("connect", CONNECT_MAX, self.greet_encrypted()).await?,
            Encryption::None => within("connect", CONNECT_MAX, self.greet()).await?.0,
            Encryption::StartTls => {
                let (plain, stream) = within("connect", CONNECT_MAX, self.greet()).await?;
                within("STARTTLS", COMMAND_MAX, self.start_tls(plain, stream)).await?
            }
        };
        if let Some(login) = &self.login {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            within("AUTH", COMMAND_MAX, connection.auth(&mechanisms, login)).await?;
        }
        Ok(connection)
    }

    /// The connection, and where it goes.
    async fn reach(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let peer = stream.peer_addr()?;
        Ok((stream, peer))
    }

    /// TLS, if the server is who it should be.
    async fn encrypt(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await
    }

    /// A connection that is encrypted from the beginning.
    async fn greet_encrypted(&self) -> Result<AsyncSmtpConnection, Why> {
        let (stream, peer) = self.reach().await?;
        let lines = Lines::of(self.encrypt(stream).await?, peer);
        Ok(AsyncSmtpConnection::connect_with_transport(Box::new(lines), &self.hello).await?)
    }

    /// A connection that is not encrypted, and the stream below it, to go on with by other means.
    async fn greet(&self) -> Result<(AsyncSmtpConnection, TcpStream), Why> {
        let (stream, peer) = self.reach().await?;
        let stream = stream.into_std()?;
        let below = TcpStream::from_std(stream.try_clone()?)?;
        let lines = Lines::of(TcpStream::from_std(stream)?, peer);
        let connected = AsyncSmtpConnection::connect_with_transport(Box::new(lines), &self.hello);
        Ok((connected.await?, below))
    }

    /// Encrypts a connection that was not.
    async fn start_tls(
        &self,
        mut plain: AsyncSmtpConnection,
        below: TcpStream,
    ) -> Result<AsyncSmtpConnection, Why> {
        if !plain.server_info().supports_feature(Extension::StartTls) {
            return Err(io::Error::other("the server does not offer it").into());
        }
        let answer = plain.command(Starttls).await?;
        must_be(&answer, &["220"])?;
        // With all that was read of it: whoever sits in between could have sent more than the answer. What the server
        // offered before counts no longer, either (RFC 3207, 4.2).
        drop(plain);
        let peer = below.peer_addr()?;
        let lines = Lines::greeted(self.encrypt(below).await?, peer);
        Ok(AsyncSmtpConnection::connect_with_transport(Box::new(lines), &self.hello).await?)
    }

    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        from: &Address,
        to: &Address,
        mail: &[u8],
    ) -> Result<String, Failure> {
        let is_plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        let needs_utf8 = !is_plain(from) || !is_plain(to);
        let speaks_utf8 = connection.server_info().supports_feature(Extension::SmtpUtfEight);
        let parameters =
            if needs_utf8 && speaks_utf8 { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
        let sender = Mail::new(Some(from.clone()), parameters);
        answered("MAIL", COMMAND_MAX, connection.command(sender), &["250"]).await?;
        let recipient = Rcpt::new(to.clone(), Vec::new());
        let done = &["250", "251", "252"];
        answered("RCPT", COMMAND_MAX, connection.command(recipient), done).await?;
        answered("DATA", DATA_MAX, connection.command(Data), &["354"]).await?;
        let taken = answered("the mail", MAIL_MAX, connection.message(mail), &["250"]).await?;
        Ok(said(&taken))
    }
}

/// A server's answer in one line.
fn said(answer: &Response) -> String {
    let words: Vec<&str> = answer.message().collect();
    text::one_line(&format!("{} {}", answer.code(), words.join(" ")), WORDS_CHARACTERS_MAX)
}

/// Only these codes say that a command was done (RFC 5321, 4.3.2), though all of 2xx and 3xx are no errors.
fn must_be(answer: &Response, codes: &[&str]) -> Result<(), Why> {
    if codes.contains(&answer.code().to_string().as_str()) {
        return Ok(());
    }
    Err(Why::OutOfTurn(said(answer)))
}

/// The answer to a command, if it is one of these.
async fn answered(
    step: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<Response, Error>>,
    codes: &[&str],
) -> Result<Response, Failure> {
    let answer = within(step, limit, answer).await?;
    must_be(&answer, codes).map_err(|why| Failure { step, why })?;
    Ok(answer)
}

async fn within<T, E: Into<Why>>(
    step: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(why)) => Err(Failure { step, why: why.into() }),
        Err(_) => Err(Failure { step, why: Why::NoAnswer }),
    }
}

impl Failure {
    /// 4xx may come again; 5xx was refused, as it is or for good.
    fn outcome(self) -> Outcome {
        let Failure { step, why } = self;
        let error = match why {
            Why::Error(error) => error,
            Why::Broken(error) => {
                let is_late = error.kind() == io::ErrorKind::TimedOut;
                let reason =
                    if is_late { OutcomeReason::Timeout } else { OutcomeReason::Connection };
                let detail = text::one_line(&format!("{step}: {error}"), WORDS_CHARACTERS_MAX);
                return Outcome::Retry { reason, detail, after: None };
            }
            Why::NoAnswer => {
                let detail = format!("{step}: no answer in time");
                return Outcome::Retry { reason: OutcomeReason::Timeout, detail, after: None };
            }
            Why::OutOfTurn(said) => {
                let detail = format!("{step}: the answer is none to it: {said}");
                return Outcome::Retry { reason: OutcomeReason::ServerError, detail, after: None };
            }
        };
        let words = error.to_string();
        let detail = text::one_line(&format!("{step}: {words}"), WORDS_CHARACTERS_MAX);
        if !error.is_permanent() {
            let reason = if error.is_transient() {
                OutcomeReason::ServerError
            } else if error.is_timeout() {
                OutcomeReason::Timeout
            } else {
                OutcomeReason::Connection
            };
            return Outcome::Retry { reason, detail, after: None };
        }
        let code = error.status().map(|code| code.to_string()).unwrap_or_default();
        Outcome::Rejected { reason: refusal(&code, step, &words), detail }
    }
}

/// What a code of 5xx is about. 552 is said of mails that are too large and of mailboxes that are full;
/// the enhanced code (RFC 3463) tells them apart.
fn refusal(code: &str, step: &str, words: &str) -> OutcomeReason {
    match code {
        "530" | "534" | "535" | "538" => OutcomeReason::AuthError,
        _ if step == "AUTH" => OutcomeReason::AuthError,
        _ if words.contains("5.3.4") || words.contains("5.2.3") => OutcomeReason::TooLarge,
        "523" => OutcomeReason::TooLarge,
        "552" if !words.contains("5.2.2") => OutcomeReason::TooLarge,
        _ => OutcomeReason::ClientError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_would_help() {
        use OutcomeReason::{AuthError, ClientError, TooLarge};
        for (code, step, words, reason) in [
            ("535", "AUTH", "5.7.8 no", AuthError),
            ("504", "AUTH", "unrecognized mechanism", AuthError),
            ("550", "RCPT", "5.1.1 no such mailbox", ClientError),
            ("554", "the mail", "5.7.1 spam", ClientError),
            ("552", "the mail", "5.3.4 message too big", TooLarge),
            ("552", "MAIL", "message size exceeds fixed limit", TooLarge),
            ("552", "RCPT", "5.2.2 mailbox full", ClientError),
            ("554", "the mail", "5.2.3 larger than this mailbox takes", TooLarge),
        ] {
            assert_eq!(refusal(code, step, words), reason, "{code} {words}");
        }
    }
}
