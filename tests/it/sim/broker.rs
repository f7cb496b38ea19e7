//! The broker: partitions that never lose what they took, and the group's offsets.

use std::sync::Arc;

use memchr::memmem;
use tripline::engine::{
    record::{PartitionName, Position},
    time::{EventTime, WallTime},
};

use super::{action::Request, life::Spans};

/// A request to the API server.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) user: u8,
    pub(super) object: u8,
    /// When it was answered.
    pub(super) time: EventTime,
}

/// One record.
pub(super) struct Record {
    pub(super) payload: Vec<u8>,
    /// When its event happened; `None` for garbage.
    pub(super) time: Option<EventTime>,
    /// When it was appended, in true microseconds.
    pub(super) appended_at: i64,
}

/// One partition.
pub(super) struct Partition {
    pub(super) name: Arc<PartitionName>,
    pub(super) records: Vec<Record>,
    pub(super) is_stalled: bool,
    /// Its leader is away.
    pub(super) is_leaderless: bool,
    /// What the group says that it has done.
    pub(super) committed: i64,
}

/// A request that runs long and has not ended.
struct Open {
    partition: usize,
    audit_id: u64,
    call: Call,
}

/// The topic and its group.
pub(super) struct Broker {
    pub(super) partitions: Vec<Partition>,
    pub(super) is_down: bool,
    open: Vec<Open>,
    audit_ids: u64,
}

impl Broker {
    pub(super) fn new(partitions: u8) -> Broker {
        let partition = |number| Partition {
            name: Arc::new(PartitionName::new("audit", number)),
            records: Vec::new(),
            is_stalled: false,
            is_leaderless: false,
            committed: 0,
        };
        Broker {
            partitions: (0..i32::from(partitions)).map(partition).collect(),
            is_down: false,
            open: Vec::new(),
            audit_ids: 0,
        }
    }

    pub(super) fn index(&self, pick: u8) -> usize {
        usize::from(pick) % self.partitions.len()
    }

    pub(super) fn names(&self) -> Vec<Arc<PartitionName>> {
        self.partitions.iter().map(|partition| Arc::clone(&partition.name)).collect()
    }

    /// Those that have a leader.
    pub(super) fn led(&self) -> Vec<Arc<PartitionName>> {
        let led = self.partitions.iter().filter(|partition| !partition.is_leaderless);
        led.map(|partition| Arc::clone(&partition.name)).collect()
    }

    /// The group is told what is done.
    pub(super) fn committed(&mut self, positions: &[Position]) {
        for position in positions {
            let index = usize::try_from(position.partition.partition).unwrap();
            self.partitions[index].committed = position.next_offset;
        }
    }

    /// Appends what a request is recorded as, and a copy to another partition.
    pub(super) fn produce(&mut self, now: i64, call: Call, partition: u8, copy: Option<u8>) {
        self.audit_ids += 1;
        let partition = self.index(partition);
        if call.request == Request::Garbage {
            self.append(now, partition, b"{\"kind\":\"Event\",".to_vec(), None);
            return;
        }
        if call.request == Request::Exec {
            self.open.push(Open { partition, audit_id: self.audit_ids, call });
        }
        let stage =
            if call.request == Request::Exec { "ResponseStarted" } else { "ResponseComplete" };
        let text = call.event(self.audit_ids, stage, call.time);
        for place in [Some(partition), copy.map(|pick| self.index(pick))].into_iter().flatten() {
            self.append(now, place, text.clone().into_bytes(), Some(call.time));
        }
    }

    /// Appends the end of a long-running request, to the partition of its beginning.
    pub(super) fn end_exec(&mut self, now: i64, pick: u8) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let Open { partition, audit_id, call } =
            self.open.remove(usize::from(pick) % self.open.len());
        let time = WallTime::from_micros(now).as_event();
        let text = call.event(audit_id, "ResponseComplete", time);
        self.append(now, partition, text.into_bytes(), Some(time));
        true
    }

    /// Times of the requests of a user among some records; the end of a long one is not another one.
    pub(super) fn times_of(&self, user: &str, spans: &Spans) -> Vec<EventTime> {
        let name = format!(r#"{{"username":"{user}"}}"#);
        let records = spans
            .iter()
            .flat_map(|(index, span)| self.partitions[*index].records[span.clone()].iter());
        let of_user = records.filter(|record| {
            let has = |text: &str| memmem::find(&record.payload, text.as_bytes()).is_some();
            has(&name) && (has("ResponseStarted") || !has(r#""subresource":"exec""#))
        });
        of_user.filter_map(|record| record.time).collect()
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    fn append(&mut self, now: i64, index: usize, payload: Vec<u8>, time: Option<EventTime>) {
        self.partitions[index].records.push(Record { payload, time, appended_at: now });
    }
}

/// Names of the few users.
pub(super) const USERS: [&str; 3] = ["ann", "bob", "eve"];

impl Call {
    /// The audit event of one stage.
    fn event(self, audit_id: u64, stage: &str, time: EventTime) -> String {
        let (verb, resource, subresource) = match self.request {
            Request::Secret => ("get", "secrets", ""),
            Request::ConfigMap => ("get", "configmaps", ""),
            Request::Exec => ("create", "pods", "exec"),
            Request::Other | Request::Garbage => ("list", "pods", ""),
        };
        let user = USERS[usize::from(self.user) % USERS.len()];
        let (object, received) = (self.object, self.time);
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{audit_id}","stage":"{stage}","requestURI":"/api/v1/namespaces/shop/{resource}/o{object}","verb":"{verb}","user":{{"username":"{user}"}},"sourceIPs":["203.0.113.9"],"userAgent":"kubectl","objectRef":{{"resource":"{resource}","namespace":"shop","name":"o{object}","subresource":"{subresource}","apiVersion":"v1"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"{received}","stageTimestamp":"{time}"}}"#
        )
    }
}
