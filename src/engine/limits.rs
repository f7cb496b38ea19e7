//! Every bound of the engine, with its unit and what happens at it.

use std::time::Duration;

/// Bytes of one YAML file: 4 MiB. A larger file is an error (`Y002`); nothing of it is read.
pub const YAML_FILE_BYTES_MAX: usize = 4 << 20;

/// Bytes of one file of a list: 32 MiB, room for [`LIST_VALUES_MAX`] entries with owner and reason. A
/// larger file is an error (`Y002`); nothing of it is read.
pub const LIST_FILE_BYTES_MAX: usize = 32 << 20;

/// Nodes of one YAML file, those that aliases stand for included: 1,000,000, at about 100 B each. More
/// are an error (`Y003`).
pub const YAML_NODES_MAX: usize = 1_000_000;

/// Bytes of the compiled patterns of `identities.yaml`, of users and of groups each: 32 MiB, some
/// thousands of patterns. More are an error (`R014`); names without wildcards are not among them.
pub const IDENTITY_BYTES_MAX: usize = 32 << 20;

/// Errors that are kept when files are loaded, and warnings: 10,000 of each. The rest is counted
/// (`Y004`).
pub const DIAGNOSTICS_MAX: usize = 10_000;

/// Bytes of one record: 16 MiB. A larger one is a dead letter with reason `too_large`; what stands before
/// is matched, the last event of it as one that was cut.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Nesting of JSON: 128 levels, more than anything real has. A deeper event is matched like any other, and
/// is a dead letter too (`too_deep`); what is no event is nothing else.
pub const JSON_DEPTH_MAX: usize = 128;

/// Bytes kept of a dead letter: 1 MiB. The rest is cut off.
pub const DEAD_LETTER_BYTES_MAX: usize = 1 << 20;

/// Texts of one list that the index of rules knows one by one: 256. A field with a longer list is
/// indexed less sharply; the rules' results are the same.
pub const INDEX_TEXTS_PER_TEST_MAX: usize = 256;

/// Values of one field that the index of rules knows: 4,096. With more the field is not indexed. As many
/// prefixes of its values; with more it is indexed without them.
pub const INDEX_VALUES_MAX: usize = 4_096;

/// Bytes of one event: 8 MiB, several times what an API server stores. A larger one is matched, and
/// is a dead letter too (`too_large`).
pub const EVENT_BYTES_MAX: usize = 8 << 20;

/// Bytes of events that a detector keeps until their hashes are asked for: 2 MiB. The hash of the oldest is then made,
/// if anybody holds it still; nothing is lost.
pub const HASHES_OWED_BYTES_MAX: usize = 2 << 20;

/// Bytes of an event that is kept in that way: 16 KiB. A larger one is hashed at once.
pub const HASH_OWED_OF_BYTES_MAX: usize = 16 << 10;

/// Segments of a field path that are tried as keys of their own: 32. The rest of a longer path is
/// one key.
pub const PATH_SEGMENTS_MAX: usize = 32;

/// Steps of one JSON Patch that are looked at to find what its `copy` and `move` put: 200,000, twenty times
/// as many as an API server takes. At the limit what is left is not found, and the event counts as one of
/// which values were left out.
pub const PATCH_COPIES_MAX: usize = 200_000;

/// Steps of one JSON Patch that copy from one another in a row: 500. At the limit, as above.
pub const PATCH_CHAIN_MAX: usize = 500;

/// Bytes of the values that are looked at for the same: 64 MiB. An API server copies 3 MiB.
pub const PATCH_COPIED_BYTES_MAX: usize = 64 << 20;

/// Steps of one JSON Patch that put parts into elements that are there already: 700. Which of them belong
/// together is not known, so every combination counts; an event with more is one of which values were left
/// out.
pub const PATCH_PARTS_MAX: usize = 700;

/// Bytes of a JSON Pointer from which `copy` and `move` are followed: 4,096. A longer one is not, and the
/// event counts as one of which values were left out.
pub const POINTER_BYTES_MAX: usize = 4 << 10;

/// Envelopes around one another that have to be undone (texts within texts, compression, Base64): 6. What
/// is wrapped further is not an event.
pub const WRAPPERS_MAX: usize = 6;

/// Bytes that undoing envelopes may make of one record, as many that closing what was cut may, and as many that are read
/// again behind what was torn: 64 MiB. What does not fit is a dead letter with reason `too_large`, or not looked at, so
/// that the record is one with reason `not_an_event`.
pub const UNWRAPPED_BYTES_MAX: usize = 64 << 20;

/// Lines of something else between two parts of a line that a container runtime split: 100. After so many the
/// parts are not waited for any more: what there is of the event is one that was cut, and a dead letter
/// (`part_of_line`).
pub const PART_LINES_BETWEEN_MAX: usize = 100;

/// Nesting of objects and arrays in which an event is looked for: 16 levels.
pub const SEARCH_DEPTH_MAX: usize = 16;

/// Members of one object among which an event is looked for: 1,000,000, at 40 B each. Further ones are not
/// looked at. Where a shipper writes all of an event into one object, people choose how many there are.
pub const SEARCH_MEMBERS_MAX: usize = 1_000_000;

/// Values of one record that are looked at in search of events: 100,000. What has more is a dead letter too
/// (`too_many_events`).
pub const SEARCH_NODES_MAX: usize = 100_000;

/// Lists within lists: 4. Deeper ones are items that are no events.
pub const LISTS_MAX: usize = 4;

/// Events in one record: 10,000. The rest of a longer EventList is a dead letter (`too_many_events`).
pub const EVENTS_PER_RECORD_MAX: usize = 10_000;

/// Values of one event that rules look at: 4,194,304, each in 32 B, which is all that an event of
/// [`EVENT_BYTES_MAX`] can hold. Beyond it a field keeps its first values and its last; counted, and the
/// event is `unseen` in part.
pub const VALUES_PER_EVENT_MAX: u32 = 4 << 20;

/// Bytes of one captured value: 1,024. A longer one is cut, with `…` at its end, and behind it a digest of
/// the whole unless people write such values freely.
pub const CAPTURED_VALUE_BYTES_MAX: usize = 1_024;

/// Values captured of one field: 32, the first ones and the last, which is what a server appends to what
/// clients say. Further ones are left out of evidence, those that let the rule hold after all others. Of what
/// counts [`KEYS_PER_EVENT_MAX`] are kept.
pub const CAPTURED_VALUES_MAX: usize = 32;

/// Keys of one event for one rule, and combinations of counted values, if fields have several values: 1,024
/// of each, the ones first that let the rule hold, then those that are different. Further ones do not count;
/// counted.
pub const KEYS_PER_EVENT_MAX: usize = 1_024;

/// Bytes that the state of all correlations may take together (`engine.memory`): 256 MiB, room for 1,900,000 keys of
/// thirty bytes that count a few events. At the limit the rule that takes most, and so more than its share, drops
/// a sixteenth of its keys, counted: those that have come least far, and of these the ones idle longest, but none of
/// the quarter that is known longest. It may then miss an alert for them. To find them takes 32 B for each key
/// of that rule, for a moment.
pub const MEMORY_DEFAULT: u64 = 256 << 20;

/// Least of them: 16 MiB. Less is an error of the configuration.
pub const MEMORY_MIN: u64 = 16 << 20;

/// Most of them: 256 GiB, in which there are fewer keys than numbers for them. More is likewise an error.
pub const MEMORY_MAX: u64 = 256 << 30;

/// Events held in one window of one key: 10,000. At the limit some are dropped or joined, and counted: where
/// events or numbers count, those of nearly the same time (a 2,500th of the window) become one that stands for
/// all; of several that say the same (the same value again, the same rule again) one; else the oldest.
pub const WINDOW_EVENTS_MAX: usize = 10_000;

/// Greatest threshold of a number of events, or of different values: 1,000,000. A greater one is refused when the rule is
/// loaded. Above [`WINDOW_EVENTS_MAX`] events are counted within [`COUNT_ERROR_PARTS`], and values are estimated: a key
/// takes 64 KiB at most, and `engine/kind/distinct` says how exact that is.
pub const COUNTED_MAX: usize = 1_000_000;

/// Entries of a window whose threshold is above [`WINDOW_EVENTS_MAX`]: 1,000 of 64 bytes each.
pub const COUNTING_ENTRIES_MAX: usize = 1_000;

/// How exact such a window is: no count is off by more than a 100th of what it is compared with, or of itself if
/// that is more.
pub const COUNT_ERROR_PARTS: u64 = 100;

/// Longest baseline of a `spike` rule: 90 days, at 6 bytes for each hour with events and key. A longer
/// one is refused when the rule is loaded.
pub const BASELINE_MAX: Duration = Duration::from_secs(90 * 86_400);

/// Rule sets remembered after they were replaced: 8. Detections that an even older one made, because
/// the store was stuck meanwhile, are dropped and counted.
pub const PREVIOUS_RULES_MAX: usize = 8;

/// Request identities remembered of one rule: 200,000. At the limit the oldest is forgotten and
/// counted; a duplicate of it would then count twice.
pub const IDENTITIES_PER_RULE_MAX: usize = 200_000;

/// Request identities of one rule up to which those are held whose time is over, because some partition
/// is behind and may hold copies: 20,000. With more of them a copy that comes very late counts twice.
pub const IDENTITIES_HELD_MAX: usize = 20_000;

/// How long the identity of a request is remembered at most, and held for a partition that is behind:
/// 1 day. Kinds with a longer memory (a baseline, a history) may count a copy that comes later than
/// that.
pub const IDENTITY_SPAN_MAX: Duration = Duration::from_secs(86_400);

/// How long a change may take, in event time: 2 minutes, twice what the API server gives a request. Once
/// event time has passed that and no end has come, it is an event of stage `Unfinished`.
pub const UNFINISHED_AFTER: Duration = Duration::from_secs(120);

/// Changes that were received and whose end is waited for: 100,000, only those that a rule asks for. At the
/// limit further ones are not waited for; counted (`unfinished`).
pub const UNFINISHED_MAX: usize = 100_000;

/// Pieces of evidence kept with one alert: 5, the first four and the latest.
pub const EVIDENCE_MAX: usize = 5;

/// Alerts firing at once of one rule: 1,000. Beyond it one overflow alert of the rule says how many more, and
/// names who was new to it, whenever somebody is.
pub const FIRING_PER_RULE_MAX: usize = 1_000;

/// Alerts firing at once of one rule that one actor began: 100. Beyond it one overflow alert of his own says
/// how many more.
pub const FIRING_PER_ENTITY_MAX: usize = 100;

/// Alerts in one notification: 256 (Alertmanager's advice). More go into the next one.
pub const ALERTS_PER_NOTIFICATION_MAX: usize = 256;

/// Groups of one route: 10,000. At the limit alerts join the route's overflow group; counted.
pub const GROUPS_PER_ROUTE_MAX: usize = 10_000;

/// Alerts held in one group: 5,000. At the limit the alert that ended longest ago leaves, else one of whoever
/// began most of them; the new one is not taken if it would be another of his. Counted, and the group's next
/// notification says how many.
pub const ALERTS_PER_GROUP_MAX: usize = 5_000;

/// Alerts held in all groups together: 100,000. Each takes about 2 kB, once for all groups that hold it,
/// and as much on disk for each. At the limit, as for one group, or for the largest.
pub const ALERTS_IN_GROUPS_MAX: usize = 100_000;

/// How long an alert that ended is kept for a receiver that cannot be reached: 24 hours. Then it is
/// dropped, counted and written to the ledger. Alerts that fire are never given up.
pub const UNDELIVERED_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How long a resolved alert is resent to Alertmanager: 15 minutes, as Prometheus does.
pub const RESOLVED_RETENTION: Duration = Duration::from_secs(900);

/// First pause after a failed attempt: 1 second. It doubles with each further one.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest pause after a failed attempt: 5 minutes, or the repeat interval if that is shorter.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Longest pause after a receiver refused an alert: 1 hour, or its group interval if that is longer.
pub const REFUSAL_PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// Longest pause that a receiver may ask for: 1 hour. A longer `Retry-After` is taken as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Attempts of one notifier at once: 4, and 1 while its last attempt failed. Further groups wait in
/// the order in which they asked.
pub const ATTEMPTS_IN_FLIGHT_MAX: usize = 4;

/// How much longer than it may take an attempt may go without an outcome before it counts as failed: 1
/// minute. It is for an outcome that got lost.
pub const ATTEMPT_SLACK: Duration = Duration::from_secs(60);

/// Ledger entries that wait for a checkpoint: 10,000. Further ones are counted only.
pub const LEDGER_ENTRIES_MAX: usize = 10_000;

/// How far the stream may lag behind in disorder before an event is late: 2 minutes. Audit webhooks
/// batch for up to 30 s and retry.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(120);

/// After how long without records a partition stops holding the watermark back: 1 minute.
pub const IDLE_AFTER_DEFAULT: Duration = Duration::from_secs(60);

/// How far ahead of the operator's clock an event may claim to be and still move the watermark.
pub const SKEW_MAX_DEFAULT: Duration = Duration::from_secs(300);

/// Bytes of one text of an access (a name, a user agent): 1,024. A longer one is cut, with `…` at its end.
pub const ACCESS_TEXT_BYTES_MAX: usize = 1_024;

/// Texts of one list of an access (groups, addresses, subjects): 32. Further ones are left out.
pub const ACCESS_TEXTS_MAX: usize = 32;

/// Bytes of one detail of an access (a command, a message): 512. A longer one is cut, with `…` at its end.
pub const ACCESS_DETAIL_BYTES_MAX: usize = 512;

/// Bytes kept of the body of a request that changes permissions: 64 KiB. The rest is cut off.
pub const ACCESS_BODY_BYTES_MAX: usize = 64 << 10;

/// Bytes of an audit id: 256. Of a longer one its SHA-256 is kept.
pub const AUDIT_ID_BYTES_MAX: usize = 256;

/// Shortest time within which like accesses become one row: 1 minute. A shorter one is an error (`R004`).
pub const ROLL_UP_MIN: Duration = Duration::from_secs(60);

/// Longest time within which like accesses become one row: 1 day. A longer one is an error (`R004`).
pub const ROLL_UP_MAX: Duration = Duration::from_secs(86_400);

/// How long windows wait for a source or a partition that cannot be read, while others can: 15 minutes.
pub const AWAY_MAX_DEFAULT: Duration = Duration::from_secs(900);

/// Roll-ups that have not ended: 50,000, at about 1 kB each. At the limit the one that ends first ends at
/// once; counted.
pub const ROLL_UPS_MAX: usize = 50_000;

/// Rows an hour of one class and actor beyond which names are left out: 600; counted.
pub const FLOOD_ROWS: u64 = 600;

/// Sessions an hour of one actor beyond which names and commands are left out: 6,000; counted. Each is one that somebody
/// may have to answer for, and has two rows at most.
pub const FLOOD_SESSIONS: u64 = 6_000;

/// Actors and classes of which rows are counted an hour: 20,000. Names of further ones are left out.
pub const FLOOD_ACTORS_MAX: usize = 20_000;

/// Accesses an hour that become rows: 100,000, and of what is only read half as many. Further ones are
/// shed: counted, and told by a row.
pub const ROWS_PER_HOUR_MAX: u64 = 100_000;

/// Bytes of what an entry of the ledger tells in full: 64 KiB. An alert that is longer has shorter texts; the
/// text of a file has several entries.
pub const ENTRY_BODY_BYTES_MAX: usize = 64 << 10;

/// Bytes of texts that one rule set adds to the ledger: 16 MiB. Of further files the ledger has name and hash.
pub const RULE_TEXTS_BYTES_MAX: usize = 16 << 20;

/// Requests unlike each other that a worker knows of three days: 50,000, at 30 to 130 B each. At the limit it
/// forgets all of them, and asks the recorder again.
pub const USAGE_KNOWN_PER_WORKER_MAX: usize = 50_000;

/// Of these, requests that a worker knows again at once: 16,384, at 8 B each.
pub const USAGE_LATELY_MAX: usize = 16_384;

/// Accesses unlike each other that a worker knows, of those that are rolled up: 16,384, at about 2 kB each. At
/// the limit it forgets all of them, and takes the next ones apart again.
pub const ALIKE_KNOWN_PER_WORKER_MAX: usize = 16_384;

/// Bytes of the texts by which such an access is known: 4 KiB. One with more is taken apart each time.
pub const ALIKE_KEY_BYTES_MAX: usize = 4 << 10;

/// Names of objects that are told of one permission, actor and day: 4. Of more it is told that there are more.
pub const USAGE_NAMES_MAX: usize = 4;

/// Requests unlike each other of one actor and day that become rows of usage: 20,000. Further ones are counted,
/// and a row says that they are missing.
pub const USAGE_PER_ACTOR_MAX: u32 = 20_000;

/// Requests unlike each other of the days that are known: 300,000, at about 150 B each. Further ones likewise.
pub const USAGE_KNOWN_MAX: usize = 300_000;

/// Bytes of a file with roles and bindings: 64 MiB. A larger one is refused.
pub const RBAC_FILE_BYTES_MAX: usize = 64 << 20;

/// Roles, bindings and service accounts of one cluster: 200,000. A file with more is refused.
pub const RBAC_OBJECTS_MAX: usize = 200_000;

/// Bytes of the texts of roles and bindings as the ledger keeps them: 16 MiB. A snapshot with more is refused.
pub const RBAC_SNAPSHOT_BYTES_MAX: usize = 16 << 20;

/// Bytes of them in one row: 60 KiB.
pub const RBAC_PART_BYTES_MAX: usize = 60 << 10;

/// Rows that wait for the archive: 100,000. Beyond it nothing is recorded; counted.
pub const SPOOL_ROWS_MAX: usize = 100_000;

/// Of these, rows that only entries may have: 10,000. Accesses are shed before.
pub const SPOOL_ENTRY_ROWS: usize = 10_000;

/// Bytes of the lines of rows that wait for the archive: 64 MiB. Beyond it accesses are shed.
pub const SPOOL_BYTES_MAX: usize = 64 << 20;

/// Rows after which the chain is sealed: 4,096.
pub const SEAL_ROWS: u64 = 4_096;

/// Time after which the chain is sealed, if it has new rows: 1 hour.
pub const SEAL_INTERVAL: Duration = Duration::from_secs(3_600);

/// Clusters whose hours are told: 1,000. Further ones are told together, without a name.
pub const COVERAGE_CLUSTERS_MAX: usize = 1_000;

/// Hours of clusters that one batch has, and that are not told yet: 10,000 each. Events of further ones (their clocks are wrong)
/// are not counted for coverage, and all clusters are told to lack something then.
pub const COVERAGE_HOURS_MAX: usize = 10_000;

/// Rules, correlations and filters of one rule set: 10,000. More are an error (`R014`).
pub const RULES_MAX: usize = 10_000;

/// Values of one list file: 100,000. More are an error (`R014`).
pub const LIST_VALUES_MAX: usize = 100_000;

/// Distinct fields that all rules name together: 10,000. More are an error (`R014`).
pub const FIELDS_MAX: usize = 10_000;

/// Predicates of one rule: 10,000, where a list of plain texts counts as one. More are an error
/// (`R014`).
pub const PREDICATES_PER_RULE_MAX: usize = 10_000;

/// Regular expressions of one rule, those made of texts with inner wildcards included: 500. More are an
/// error (`R014`): each takes some 50 kB and a tenth of a millisecond to load.
pub const REGEXES_PER_RULE_MAX: usize = 500;

/// Texts that the placeholders of one value may expand to: 100,000. More are an error (`R014`).
pub const EXPANSIONS_MAX: usize = 100_000;

/// Selections of one rule: 1,000. More are an error (`R014`).
pub const SELECTIONS_MAX: usize = 1_000;

/// Bytes of one condition: 16 KiB. A longer one is an error (`R014`).
pub const CONDITION_BYTES_MAX: usize = 16 << 10;

/// Tests in the conditions of one rule, each as often as it is used: 100,000. More are an error
/// (`R014`).
pub const CONDITION_TESTS_MAX: usize = 100_000;

/// Filters of one rule: 100. More are an error (`R014`).
pub const FILTERS_PER_RULE_MAX: usize = 100;

/// Exceptions of which it is counted how often each of their rules leaves something out because of them: 1,000.
/// Of further ones reports say that it was not counted.
pub const EXCEPTIONS_COUNTED_MAX: usize = 1_000;

/// Exceptions that were used in some hour, and are not told yet: 10,000. Uses of further ones are counted in
/// `tripline_ledger_exceptions_left_out_total` alone.
pub const EXCEPTION_USES_MAX: usize = 10_000;

/// Clusters in which uses of one exception are counted by themselves, of one hour: 16. Those in further ones are in the
/// count of all alone, and reports on one cluster say how many these are.
pub const EXCEPTION_CLUSTERS_MAX: usize = 16;

/// Nesting of a condition: 64 levels. A deeper one is an error (`R046`).
pub const CONDITION_DEPTH_MAX: usize = 64;

/// Labels, annotations, and fields shown as evidence, of one rule: 64 each. More are an error (`R014`).
pub const SHOWN_FIELDS_MAX: usize = 64;

/// Notes of a rule on its filters and on entries of its lists: 100. Further ones are left out of what
/// people are told; they stay in the files.
pub const NOTES_MAX: usize = 100;

/// References, false positives, controls and notes that an alert carries of its rule: 10 of each. All of
/// them are in the list of rules.
pub const ALERT_TEXTS_MAX: usize = 10;

/// Parts of a key (`group-by`): 16. More are an error (`R014`).
pub const KEY_PARTS_MAX: usize = 16;

/// Rules that one correlation refers to: 256. More are an error (`R014`).
pub const CORRELATION_INPUTS_MAX: usize = 256;

/// Bytes of one compiled regular expression: 4 MiB. A larger one is an error (`R023`).
pub const REGEX_BYTES_MAX: usize = 4 << 20;

/// Bytes of one template: 16 KiB. A longer one is an error (`R061`).
pub const TEMPLATE_BYTES_MAX: usize = 16 << 10;

/// Directories below each other in a rule directory: 16. Deeper ones are an error (`R014`), so that a
/// link in a circle ends.
pub const RULE_DIRECTORY_DEPTH_MAX: usize = 16;

/// Alerts remembered of all rules, suppressed ones included: 200,000. Beyond it those that ended are forgotten,
/// a sixteenth at once, the ones first that would be forgotten next: what `suppress` would have held back is
/// told. If none has ended, new keys join their rule's overflow alert. Counted.
pub const ALERTS_MAX: usize = 200_000;

/// Bytes of one annotation of an alert: 2,048. A longer one is cut, with `…` at its end.
pub const ANNOTATION_BYTES_MAX: usize = 2_048;

/// Bytes of a text that a template makes on its way, or writes: 64 KiB. A filter that would pass it
/// fails, and so does the template; what is written beyond it is cut off.
pub const TEMPLATE_TEXT_BYTES_MAX: usize = 64 << 10;

/// Steps that one template may take: 20,000. Beyond it the default text is used; counted.
pub const TEMPLATE_FUEL: u64 = 20_000;

/// Silences that run or are to come: 1,000. Further ones are refused (`too_many_silences`); counted.
pub const SILENCES_MAX: usize = 1_000;

/// Silences remembered that are over: 1,000. At the limit the one that ended first is forgotten.
pub const EXPIRED_SILENCES_MAX: usize = 1_000;

/// How long a silence is remembered that is over: 90 days. The ledger keeps it longer.
pub const EXPIRED_SILENCE_AGE_MAX: Duration = Duration::from_secs(90 * 86_400);

/// Longest silence, and how far ahead one may begin: 366 days. A longer one is refused (`silence_span`).
pub const SILENCE_SPAN_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Matchers of one silence: 32. More are refused (`silence_matchers`).
pub const MATCHERS_PER_SILENCE_MAX: usize = 32;

/// Alerts that one act names: 1,000. More are refused (`too_many_alerts`).
pub const ALERTS_PER_ACT_MAX: usize = 1_000;

/// Bytes of a comment, a reason, a why: 8 KiB. A longer one is refused (`text_too_long`).
pub const ACT_TEXT_BYTES_MAX: usize = 8 << 10;

/// Bytes of a name, a role or an address of whoever acts: 256. A longer one is cut, with `…` at its end; a name that
/// somebody says with an act is refused (`text_too_long`).
pub const PERSON_BYTES_MAX: usize = 256;

/// What is done with one episode of an alert: 1,000 deeds. More are refused (`too_many_deeds`); counted.
pub const DEEDS_PER_ALERT_MAX: usize = 1_000;

/// Bytes of what was done with all episodes that are remembered: 64 MiB. More is refused likewise.
pub const DEED_BYTES_MAX: usize = 64 << 20;

/// Episodes of alerts remembered that ended: 50,000, at about 600 B each. At the limit the one that ended
/// first is forgotten, and nothing can be done with it any more; counted.
pub const ENDED_EPISODES_MAX: usize = 50_000;

/// How long an episode is remembered that ended, and an act that was done: 7 days. Verdicts come late.
pub const EPISODE_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Acts remembered, so that one that is sent again is not done again: 10,000. At the limit the first is
/// forgotten.
pub const ACTS_REMEMBERED_MAX: usize = 10_000;
