//! What a mail server says, in the form that RFC 5321 gives it.
//!
//! lettre keeps a line until it ends, and takes no answer for one whose words are not UTF-8, that has none, or whose
//! code is not in the tables of RFC 5321. But the code alone says what became of a mail (section 4.2), and whoever
//! does not understand that it was taken sends it again and again. So lettre reads each line from here: bounded, in
//! UTF-8, as long as it may be, and with a code that it knows.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// Bytes of a line, about, beyond which no end of it is waited for: 64 KiB.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Bytes of a line that are read on, with code and line break: 900. lettre takes 1,000; nobody depends on the rest.
const LINE_BYTES_KEPT: usize = 900;

/// A connection to a mail server.
#[derive(Debug)]
pub(super) struct Lines<S> {
    stream: BufReader<S>,
    peer: SocketAddr,
    /// What has come of a line.
    begun: Vec<u8>,
    /// A line in form, as far as it was not read yet.
    ready: io::Cursor<Vec<u8>>,
}

impl<S: AsyncRead> Lines<S> {
    /// What a server says over this connection.
    pub(super) fn of(stream: S, peer: SocketAddr) -> Lines<S> {
        let (begun, ready) = (Vec::new(), io::Cursor::default());
        Lines { stream: BufReader::new(stream), peer, begun, ready }
    }

    /// The same, of one that greets nobody, since it has done so before the connection was encrypted.
    pub(super) fn greeted(stream: S, peer: SocketAddr) -> Lines<S> {
        let ready = io::Cursor::new(b"220 \r\n".to_vec());
        Lines { ready, ..Lines::of(stream, peer) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lines<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let lines = self.get_mut();
        while lines.ready.position() == lines.ready.get_ref().len() as u64 {
            let bytes = ready!(Pin::new(&mut lines.stream).poll_fill_buf(context))?;
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let line = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or(bytes);
            let (is_whole, taken) = (line.ends_with(b"\n"), line.len());
            lines.begun.extend_from_slice(line);
            Pin::new(&mut lines.stream).consume(taken);
            if lines.begun.len() > LINE_BYTES_MAX {
                let words = format!("a line of the answer has more than {LINE_BYTES_MAX} bytes");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
            }
            if is_whole {
                lines.ready = io::Cursor::new(in_form(&lines.begun).into_bytes());
                lines.begun.clear();
            }
        }
        Pin::new(&mut lines.ready).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin + AsyncRead> AsyncWrite for Lines<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<S> AsyncTokioStream for Lines<S>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug,
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

/// A line as lettre reads it; what is no line of an answer stays none.
fn in_form(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line).replace(['\r', '\n'], "");
    let (code, rest) = line.split_at_checked(3).unwrap_or((&line, ""));
    let mut whole = match code.as_bytes() {
        // What nobody knows better is understood by its first digit (section 4.3.2).
        [kind @ (b'4' | b'5'), b'6'..=b'9', b'0'..=b'9'] => {
            let (mark, words) = rest.split_at_checked(1).unwrap_or((" ", rest));
            format!("{}50{mark}{code} {words}", char::from(*kind))
        }
        // The words may be missing (section 4.2), and some servers leave out the space, too.
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] if rest.is_empty() => format!("{code} "),
        _ => line,
    };
    let end = (0..=LINE_BYTES_KEPT - 2).rev().find(|end| whole.is_char_boundary(*end));
    whole.truncate(end.unwrap_or_default());
    whole + "\r\n"
}

#[cfg(test)]
mod tests {
    use lettre::transport::smtp::{
        client::AsyncSmtpConnection, extension::ClientId, response::Response,
    };
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn peer() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 25))
    }

    /// What lettre makes of a server's words: code and words, or nothing.
    fn understood(said: &[u8]) -> Option<(String, String)> {
        let lines = said.split_inclusive(|byte| *byte == b'\n');
        let said: String = lines.map(in_form).collect();
        let answer: Response = said.parse().ok()?;
        Some((answer.code().to_string(), answer.message().collect::<Vec<_>>().join("|")))
    }

    /// All that is read of what a server says before it hangs up, over a connection that takes so many bytes at once.
    async fn read(said: &[u8], at_once: usize) -> io::Result<String> {
        let (ours, mut theirs) = tokio::io::duplex(at_once);
        let mut lines = Lines::of(ours, peer());
        let mut read = String::new();
        let (_, done) = tokio::join!(
            async { theirs.write_all(said).await.and(theirs.shutdown().await) },
            async { lines.read_to_string(&mut read).await },
        );
        done.map(|_| read)
    }

    #[test]
    fn the_code_counts_whatever_the_words_are() {
        let long = [b"250 ", &vec![b'x'; 5_000][..], b"\r\n"].concat();
        let cut = "x".repeat(LINE_BYTES_KEPT - 6);
        for (said, code, words) in [
            (&b"250 2.0.0 kept\r\n"[..], "250", "2.0.0 kept"),
            (b"250 \xfcbernommen\r\n", "250", "\u{fffd}bernommen"),
            ("250 übernommen\r\n".as_bytes(), "250", "übernommen"),
            (b"250 \0\r\r\n", "250", "\0"),
            (b"250\r\n", "250", ""),
            (b"250 \r\n", "250", ""),
            (b"250 kept\n", "250", "kept"),
            (b"550-\xff\r\n550-b\r\n550 c\r\n", "550", "\u{fffd}|b|c"),
            (b"571-5.7.1 not\r\n571 from you\r\n", "550", "571 5.7.1 not|571 from you"),
            (b"471 later\r\n", "450", "471 later"),
            (&long, "250", &cut),
        ] {
            let expected = Some((code.to_owned(), words.to_owned()));
            assert_eq!(understood(said), expected, "{}", String::from_utf8_lossy(said));
        }
        for said in [
            &b""[..],
            b"\r\n",
            b"25\xb2 x\r\n",
            b"150 x\r\n",
            b"271 x\r\n",
            b"2500\r\n",
            b"250-more\r\n",
            b"250-a\r\n550 b\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert_eq!(understood(said), None, "{}", String::from_utf8_lossy(said));
        }
    }

    #[tokio::test]
    async fn what_has_no_end_is_cut_off() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut lines = Lines::of(ours, peer());
        let endless = async {
            let mut bytes = 0;
            while theirs.write_all(&[b'x'; 64]).await.is_ok() {
                bytes += 64;
            }
            bytes
        };
        let cut_off = async {
            let error = lines.read_u8().await.unwrap_err();
            drop(lines);
            error.to_string()
        };
        let (bytes, why) = tokio::join!(endless, cut_off);
        assert_eq!(why, "a line of the answer has more than 65536 bytes");
        assert!(bytes < 2 * LINE_BYTES_MAX, "{bytes}");
    }

    #[tokio::test]
    async fn a_server_that_has_greeted_is_asked_what_it_offers() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let hello = ClientId::Domain("here".to_owned());
        let connect = AsyncSmtpConnection::connect_with_transport(
            Box::new(Lines::greeted(ours, peer())),
            &hello,
        );
        let answer = async {
            let mut asked = vec![0; 11];
            theirs.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, b"EHLO here\r\n");
            theirs.write_all(b"250 there\n").await.unwrap();
        };
        let (connected, ()) = tokio::join!(connect, answer);
        assert_eq!(connected.unwrap().server_info().name(), "there");
    }

    proptest! {
        /// Whatever a server says in whatever pieces, it is read line by line, and each is one that lettre takes.
        #[test]
        fn every_line_is_in_form(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1_200), 0..6),
            at_once in 1_usize..200,
        ) {
            let said = lines.join(&b"\r\n"[..]);
            let whole = said.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let lines = said[..whole].split_inclusive(|byte| *byte == b'\n');
            let expected: String = lines.map(in_form).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(read(&said, at_once)).unwrap();
            prop_assert_eq!(&read, &expected);
            for line in expected.split_inclusive('\n') {
                prop_assert!(line.ends_with("\r\n") && line.len() <= LINE_BYTES_KEPT);
                prop_assert_eq!(in_form(line.as_bytes()), line);
            }
        }

        /// The code of an answer is what its first three bytes say, as far as RFC 5321 knows it.
        #[test]
        fn an_answer_is_understood_by_its_code(
            code in "[2-5][0-5][0-9]",
            words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1_200), 1..6),
        ) {
            let mut said = Vec::new();
            for words in words {
                said.extend(format!("{code}-").as_bytes());
                said.extend(words.iter().filter(|byte| **byte != b'\n'));
                said.extend(b"\r\n");
            }
            said.extend(format!("{code}\r\n").as_bytes());
            prop_assert_eq!(understood(&said).map(|(code, _)| code), Some(code));
        }
    }
}
