//! Who acted, as people are shown it.

/// What stands in the place of a name that nobody knows.
pub const UNKNOWN: &str = "(unknown)";

/// `anna`; `anna as boss`, if anna acted as boss: wherever people are shown who it was, whoever really acted is named
/// first.
pub fn shown_actor(actor: Option<&str>, caller: Option<&str>) -> String {
    let actor = actor.unwrap_or(UNKNOWN);
    caller.map_or_else(|| actor.to_owned(), |caller| format!("{caller} as {actor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_really_acted_is_named_first() {
        assert_eq!(shown_actor(Some("boss"), None), "boss");
        assert_eq!(shown_actor(Some("boss"), Some("anna")), "anna as boss");
        assert_eq!(shown_actor(None, Some("anna")), "anna as (unknown)");
        assert_eq!(shown_actor(None, None), "(unknown)");
    }
}
