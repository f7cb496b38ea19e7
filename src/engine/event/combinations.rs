//! What tells an event from others at once.

/// Digests of what the rules are asked by, made while they are looked for. They are those of one process, and nobody may
/// see them. By which fields they tell events apart is said to what asks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Combinations {
    /// Of what the event asks for, and how that ended.
    pub(in crate::engine) kind: u128,
    /// Of who asks, and why that was allowed. Groups of somebody who is impersonated are not in it. `None` if no rule was
    /// left to be asked by then.
    pub(in crate::engine) caller: Option<u128>,
}
