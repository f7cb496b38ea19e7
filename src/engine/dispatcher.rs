//! Decides what is sent, to whom, when, and when again.
