//! Why a server of ours did not answer a client as it wished: words of a metric's label.

use crate::engine::words::words;

words! {
    /// Why a connection was closed or a request refused.
    pub enum Refusal {
        /// As many connections as may be were open; the idlest was closed for a newcomer.
        Full = "full",
        /// The client took too long to say something, or to hear the answer.
        Slow = "slow",
        /// No TLS came about, or the certificate that a client showed holds no longer.
        Handshake = "handshake",
        /// As many requests as may be were being answered, or bodies were coming.
        Busy = "busy",
        /// No credentials, or wrong ones.
        Unauthorized = "unauthorized",
        /// A browser was led here by another site, or who asks may not do this.
        Forbidden = "forbidden",
        /// Too many wrong passwords came from there.
        Tries = "tries",
        /// A header that only a proxy may send came from elsewhere; it was dropped.
        Forged = "forged",
        /// What Slack said of a click was sent a second time.
        Replayed = "replayed",
        /// The operating system gave no connection: too many open files, say.
        System = "system",
    }
}
