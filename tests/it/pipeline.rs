//! The threads around the engine when one of them, or the store, fails.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tripline::{
    app::pipeline::{NamedSource, Pipeline, PipelineEnd, PipelineSettings},
    engine::{
        detector::DeadLetter,
        dispatch::{DispatchPlan, Route},
        record::{PartitionName, RecordBatch},
        rule::RuleSet,
        shard::EngineSettings,
        time::WallTime,
    },
    notify::Receivers,
    server::{Health, Status},
    source::{Source, SourceContext, SourceError, SourceEvent},
    store::{
        Checkpoint, Loaded, Store, StoreError,
        dead_letter::{DeadLetterError, DeadLetterSink},
        memory::MemoryStore,
    },
    telemetry::Metrics,
};

const PATIENCE: Duration = Duration::from_secs(40);

/// A source that does what a test says.
struct Scripted<F>(F);

impl<F: FnOnce(SourceContext) -> Result<(), SourceError> + Send> Source for Scripted<F> {
    fn run(self: Box<Self>, context: SourceContext) -> Result<(), SourceError> {
        (self.0)(context)
    }
}

/// A store that fails while it is told to.
struct Failing {
    inner: MemoryStore,
    failures_left: Arc<AtomicUsize>,
}

impl Store for Failing {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.inner.load()
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let left = self.failures_left.load(Ordering::SeqCst);
        if left == 0 {
            return self.inner.commit(checkpoint);
        }
        self.failures_left.store(left - 1, Ordering::SeqCst);
        Err(StoreError::Io { path: "state".to_owned(), detail: "the disk is full".to_owned() })
    }
}

/// Offsets of the dead letters that were handed over.
#[derive(Clone, Default)]
struct Letters(Arc<Mutex<Vec<i64>>>);

impl DeadLetterSink for Letters {
    fn append(&mut self, _: WallTime, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        self.0.lock().unwrap().extend(letters.iter().map(|letter| letter.offset));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DeadLetterError> {
        Ok(())
    }

    fn dropped(&self) -> u64 {
        0
    }
}

struct Running {
    pipeline: Pipeline,
    status: Arc<Status>,
    letters: Letters,
}

fn start(
    failures: usize,
    run: impl FnOnce(SourceContext) -> Result<(), SourceError> + Send + 'static,
) -> Running {
    let status = Arc::new(Status::new(&["source", "store"]));
    let letters = Letters::default();
    let store =
        Failing { inner: MemoryStore::new(), failures_left: Arc::new(AtomicUsize::new(failures)) };
    let source =
        NamedSource { name: None, component: "source".to_owned(), source: Box::new(Scripted(run)) };
    let settings = PipelineSettings {
        rules: Arc::new(RuleSet::default()),
        engine: EngineSettings::default(),
        plan: DispatchPlan {
            route: Route::default(),
            receivers: Vec::new(),
            ..DispatchPlan::default()
        },
        receivers: Receivers::default(),
        sources: vec![source],
        store: Box::new(store),
        archive: None,
        signer: None,
        configuration: String::new(),
        dead_letters: Box::new(letters.clone()),
        checkpoint_interval: Duration::from_millis(10),
        workers: 1,
        drain: Duration::from_secs(10),
        has_heartbeat: false,
        metrics: Arc::new(Metrics::new()),
        status: Arc::clone(&status),
        on_alert: Box::new(|_| ()),
    };
    Running { pipeline: Pipeline::start(settings, Handle::current()).unwrap(), status, letters }
}

impl Running {
    async fn wait(&self, what: &str, is_done: impl Fn(&Running) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What it came to by itself.
    async fn end(self) -> PipelineEnd {
        self.wait("the pipeline ends", |running| running.pipeline.is_finished()).await;
        self.pipeline.wait()
    }

    fn store_is(&self, health: Health) -> bool {
        self.status.components()["store"].health == health
    }
}

/// One record that is no event.
fn garbage(offset: i64) -> RecordBatch {
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut batch = RecordBatch::default();
    batch.push(&partition, offset, None, Some(b"hello"));
    batch
}

#[tokio::test]
async fn a_thread_that_breaks_down_ends_the_pipeline() {
    // Where it would otherwise go on without a part, and call itself ready.
    let running = start(0, |context: SourceContext| {
        (context.events)(SourceEvent::Ready { partitions: Vec::new() });
        panic!("a broken invariant, on purpose");
    });
    let end = running.end().await;
    let PipelineEnd::Broken { thread } = end else { panic!("{end:?}") };
    assert_eq!(thread, "source-0");
}

#[tokio::test]
async fn a_dead_letter_is_kept_once_however_often_its_checkpoint_is_tried() {
    let running = start(3, |mut context: SourceContext| {
        context.sink.offer(garbage(7)).unwrap();
        Ok(())
    });
    let letters = running.letters.clone();
    let end = running.end().await;
    assert!(matches!(end, PipelineEnd::Finished), "{end:?}");
    assert_eq!(*letters.0.lock().unwrap(), [7]);
}

#[tokio::test]
async fn a_process_that_is_fenced_ends_even_if_its_store_fails() {
    let (fence, fenced) = mpsc::channel();
    let running = start(usize::MAX, move |mut context: SourceContext| {
        context.sink.offer(garbage(7)).unwrap();
        fenced.recv_timeout(PATIENCE).unwrap();
        Err(SourceError::Fenced { instance: "one".to_owned() })
    });
    running.wait("the checkpoint fails", |running| running.store_is(Health::Down)).await;
    fence.send(()).unwrap();
    let end = running.end().await;
    assert!(matches!(end, PipelineEnd::Failed(SourceError::Fenced { .. })), "{end:?}");
}

#[tokio::test]
async fn a_store_that_fails_is_tried_again_and_does_not_keep_the_process_from_stopping() {
    let running = start(3, |mut context: SourceContext| {
        context.sink.offer(garbage(7)).unwrap();
        while !context.stop.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(())
    });
    running.wait("the checkpoint fails", |running| running.store_is(Health::Down)).await;
    running.wait("it works again", |running| running.store_is(Health::Ok)).await;
    running.pipeline.stop();
    assert!(matches!(running.end().await, PipelineEnd::Stopped { .. }));

    let running = start(usize::MAX, |mut context: SourceContext| {
        context.sink.offer(garbage(7)).unwrap();
        while !context.stop.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(())
    });
    running.wait("the checkpoint fails", |running| running.store_is(Health::Down)).await;
    running.pipeline.stop();
    assert!(matches!(running.end().await, PipelineEnd::Stopped { .. }));
}
