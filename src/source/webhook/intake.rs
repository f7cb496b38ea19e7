//! From bodies to batches, and what is told of those that were refused.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use super::settings::{Route, WebhookSettings};
use crate::{
    engine::{
        record::{PartitionName, Position},
        time::EventTime,
    },
    source::{BatchSink, SourceEvent},
};

/// Where bodies of one route go.
struct Lane {
    partition: Arc<PartitionName>,
    cluster: Option<Arc<str>>,
    next_offset: i64,
}

struct State {
    sink: Box<dyn BatchSink>,
    sequence: u64,
    lanes: Vec<Lane>,
}

/// The way into the pipeline, for one body at a time.
pub(super) struct Intake(Mutex<State>);

impl Intake {
    /// Numbers bodies from where the checkpoint has left them.
    pub(super) fn new(
        source: Option<&Arc<str>>,
        settings: &WebhookSettings,
        sink: Box<dyn BatchSink>,
        positions: &[Position],
    ) -> Intake {
        let lane = |route: &Route| {
            let partition = PartitionName {
                source: source.cloned(),
                topic: route.topic().to_owned(),
                partition: 0,
            };
            let known = positions.iter().find(|position| *position.partition == partition);
            Lane {
                partition: Arc::new(partition),
                cluster: route.cluster.clone(),
                next_offset: known.map_or(0, |position| position.next_offset),
            }
        };
        let lanes = settings.routes.iter().map(lane).collect();
        Intake(Mutex::new(State { sink, sequence: 0, lanes }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the routes' events go.
    pub(super) fn partitions(&self) -> Vec<Arc<PartitionName>> {
        self.state().lanes.iter().map(|lane| Arc::clone(&lane.partition)).collect()
    }

    /// Hands a body over; its position, or `None` while the pipeline is full.
    pub(super) fn offer(&self, route: usize, body: &[u8]) -> Option<Position> {
        let mut state = self.state();
        let State { sink, sequence, lanes } = &mut *state;
        let lane = lanes.get_mut(route)?;
        let mut batch = sink.spare().unwrap_or_default();
        batch.sequence = *sequence;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_micros()).ok().map(EventTime::from_micros);
        let offset = lane.next_offset;
        batch.push_at(&lane.partition, offset, lane.cluster.as_ref(), now, Some(body));
        if sink.offer(batch).is_err() {
            return None;
        }
        *sequence += 1;
        lane.next_offset = offset.saturating_add(1);
        Some(Position::new(Arc::clone(&lane.partition), lane.next_offset))
    }
}

/// What was refused since it was last told, by reason, with the latest of each.
#[derive(Default)]
pub(super) struct Troubles(Mutex<BTreeMap<&'static str, (u64, String)>>);

impl Troubles {
    pub(super) fn add(&self, what: &'static str, detail: impl Into<String>) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, latest) = troubles.entry(what).or_default();
        *count += 1;
        *latest = detail.into();
    }

    /// Tells it, a line for each reason: a flood of refusals floods no log.
    pub(super) fn tell(&self, events: &(dyn Fn(SourceEvent) + Send + Sync)) {
        let troubles = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (what, (count, detail)) in troubles {
            events(SourceEvent::Trouble { what, count, detail });
        }
    }
}
