//! What Slack's words for errors mean for us.
//!
//! One table for `chat.postMessage`, `chat.update` and incoming webhooks, as Slack documents them. A
//! word that is not in it was refused like any other.

use crate::engine::dispatch::OutcomeReason;

/// What is done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The message, or the channel that it is in, cannot be changed any more: it is said anew in the
    /// configured channel. If it was new already, it was refused.
    Gone,
    /// Not so fast: wait as long as Slack says.
    Busy,
    /// Slack has trouble of its own: try again.
    Trouble,
    /// The token, or what it may do, has to be mended.
    Credentials,
    /// Shorter.
    TooLarge,
    /// Without blocks and metadata.
    BadForm,
    /// The channel, the workspace or the request has to be mended.
    Refused,
}

/// Every documented word, in order.
const WORDS: &[(&str, Meaning)] = &[
    ("access_denied", Meaning::Credentials),
    ("accesslimited", Meaning::Credentials),
    ("account_inactive", Meaning::Credentials),
    ("action_prohibited", Meaning::Refused),
    ("app_access_restricted", Meaning::Credentials),
    ("as_user_not_supported", Meaning::Refused),
    ("attachment_payload_limit_exceeded", Meaning::TooLarge),
    ("block_mismatch", Meaning::BadForm),
    ("blocked_file_type", Meaning::Refused),
    ("cannot_reply_to_message", Meaning::Refused),
    ("cant_broadcast_message", Meaning::Refused),
    ("cant_update_message", Meaning::Gone),
    ("channel_is_archived", Meaning::Gone),
    ("channel_not_found", Meaning::Gone),
    ("channel_type_not_supported", Meaning::Refused),
    ("deprecated_endpoint", Meaning::Refused),
    ("duplicate_channel_not_found", Meaning::Refused),
    ("duplicate_message_not_found", Meaning::Refused),
    ("edit_window_closed", Meaning::Gone),
    ("ekm_access_denied", Meaning::Credentials),
    ("enterprise_is_restricted", Meaning::Credentials),
    ("external_channel_migrating", Meaning::Trouble),
    ("fatal_error", Meaning::Trouble),
    ("internal_error", Meaning::Trouble),
    ("invalid_arg_name", Meaning::BadForm),
    ("invalid_arguments", Meaning::BadForm),
    ("invalid_array_arg", Meaning::BadForm),
    ("invalid_attachments", Meaning::BadForm),
    ("invalid_auth", Meaning::Credentials),
    ("invalid_blocks", Meaning::BadForm),
    ("invalid_blocks_format", Meaning::BadForm),
    ("invalid_charset", Meaning::BadForm),
    ("invalid_form_data", Meaning::BadForm),
    ("invalid_json", Meaning::BadForm),
    ("invalid_metadata_format", Meaning::BadForm),
    ("invalid_metadata_schema", Meaning::BadForm),
    ("invalid_payload", Meaning::BadForm),
    ("invalid_post_type", Meaning::BadForm),
    ("invalid_token", Meaning::Credentials),
    ("is_archived", Meaning::Gone),
    ("is_inactive", Meaning::Gone),
    ("json_not_object", Meaning::BadForm),
    ("markdown_text_conflict", Meaning::BadForm),
    ("message_limit_exceeded", Meaning::Busy),
    ("message_not_found", Meaning::Gone),
    ("messages_tab_disabled", Meaning::Refused),
    ("metadata_must_be_sent_from_app", Meaning::BadForm),
    ("metadata_too_large", Meaning::BadForm),
    ("method_deprecated", Meaning::Refused),
    ("missing_post_type", Meaning::BadForm),
    ("missing_scope", Meaning::Credentials),
    ("msg_blocks_too_long", Meaning::TooLarge),
    ("msg_too_long", Meaning::TooLarge),
    ("no_active_hooks", Meaning::Credentials),
    ("no_permission", Meaning::Credentials),
    ("no_service", Meaning::Credentials),
    ("no_service_id", Meaning::Credentials),
    ("no_team", Meaning::Refused),
    ("no_text", Meaning::BadForm),
    ("not_allowed_token_type", Meaning::Credentials),
    ("not_authed", Meaning::Credentials),
    ("not_in_channel", Meaning::Gone),
    ("org_login_required", Meaning::Trouble),
    ("posting_to_general_channel_denied", Meaning::Refused),
    ("rate_limited", Meaning::Busy),
    ("ratelimited", Meaning::Busy),
    ("request_timeout", Meaning::Trouble),
    ("restricted_action", Meaning::Refused),
    ("restricted_action_non_threadable_channel", Meaning::Refused),
    ("restricted_action_read_only_channel", Meaning::Refused),
    ("restricted_action_thread_locked", Meaning::Refused),
    ("restricted_action_thread_only_channel", Meaning::Refused),
    ("rollup_error", Meaning::Trouble),
    ("send_on_behalf_not_allowed", Meaning::Credentials),
    ("service_unavailable", Meaning::Trouble),
    ("slack_connect_blocked_file_type", Meaning::Refused),
    ("slack_connect_canvas_sharing_blocked", Meaning::Refused),
    ("slack_connect_file_link_sharing_blocked", Meaning::Refused),
    ("slack_connect_lists_sharing_blocked", Meaning::Refused),
    ("team_access_not_granted", Meaning::Credentials),
    ("team_added_to_org", Meaning::Trouble),
    ("team_disabled", Meaning::Credentials),
    ("team_not_found", Meaning::Refused),
    ("token_expired", Meaning::Credentials),
    ("token_revoked", Meaning::Credentials),
    ("too_many_attachments", Meaning::TooLarge),
    ("too_many_contact_cards", Meaning::TooLarge),
    ("two_factor_setup_required", Meaning::Credentials),
    ("update_failed", Meaning::Trouble),
    ("user_not_found", Meaning::Refused),
];

/// What a word means; `None` if Slack documents none such.
pub(super) fn meaning(word: &str) -> Option<Meaning> {
    let at = WORDS.binary_search_by_key(&word, |(known, _)| known).ok()?;
    WORDS.get(at).map(|(_, meaning)| *meaning)
}

impl Meaning {
    /// Why a message was not taken, if it was new.
    pub(super) const fn reason(self) -> OutcomeReason {
        match self {
            Meaning::Busy => OutcomeReason::RateLimited,
            Meaning::Trouble => OutcomeReason::ServerError,
            Meaning::Credentials => OutcomeReason::AuthError,
            Meaning::TooLarge => OutcomeReason::TooLarge,
            Meaning::BadForm => OutcomeReason::BadForm,
            Meaning::Gone | Meaning::Refused => OutcomeReason::ClientError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_order_and_found() {
        assert!(WORDS.is_sorted_by(|(a, _), (b, _)| a < b));
        for (word, expected) in WORDS {
            assert_eq!(meaning(word), Some(*expected), "{word}");
        }
        assert_eq!(meaning("of_tomorrow"), None);
    }
}
