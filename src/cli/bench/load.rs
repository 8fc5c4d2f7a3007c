//! The generator: connections that post, on a thread of their own, in a closed loop or by a schedule.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{sync::Semaphore, sync::oneshot, task::LocalSet};

use super::{
    ledger::{Fan, Sent},
    micros,
    request::Template,
    wire::Wire,
};
use crate::Clock;

/// What is posted, where, and for how long.
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) template: Template,
    pub(super) fan: Fan,
    pub(super) connections: usize,
    /// Events of one request.
    pub(super) batch: usize,
    pub(super) events: usize,
    pub(super) duration: Duration,
    /// Events per second; without it each connection waits for its answer and posts again.
    pub(super) rate: Option<f64>,
    pub(super) clock: Clock,
    /// Events acknowledged so far.
    pub(super) acknowledged: Arc<AtomicUsize>,
}

/// What posting came to.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// By the events' numbers.
    pub(super) sent: Vec<Sent>,
    /// Answers of 429 and 503; those requests were posted again.
    pub(super) refused: usize,
    /// When the first request was, or was to be, written.
    pub(super) start: u32,
    /// Why it ended early.
    pub(super) failure: Option<String>,
}

/// After a refusal.
const PAUSE: Duration = Duration::from_millis(10);
/// A connection that was idle for longer may have been closed by the server.
const IDLE: u32 = 2_000_000;
/// The least time that the schedule sleeps: more often would cost the load what it measures.
const TICK: Duration = Duration::from_micros(100);

impl Load {
    /// Posts from a thread of its own; the answer comes when all is posted.
    pub(super) fn start(self) -> oneshot::Receiver<Published> {
        let (done, published) = oneshot::channel();
        thread::spawn(move || {
            let published = self.run().unwrap_or_else(|error| Published {
                failure: Some(format!("the generator cannot run: {error}")),
                ..Published::default()
            });
            let _nobody_waits = done.send(published);
        });
        published
    }

    fn run(self) -> io::Result<Published> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let start = micros(self.clock);
        let permits = Arc::new(Semaphore::new(0));
        let pacer = self.rate.map(|rate| {
            let (clock, permits) = (self.clock, Arc::clone(&permits));
            let (requests, spare) = (self.events.div_ceil(self.batch), self.connections);
            let (end, per_micro) = (self.end(start), rate / self.batch_f64() / 1e6);
            thread::spawn(move || pace(clock, &permits, start, end, per_micro, (requests, spare)))
        });
        let connections = self.connections;
        let run = Rc::new(Run {
            load: self,
            start,
            permits,
            state: RefCell::new(State { published: Published { start, ..Published::default() }, next: 0 }),
        });
        LocalSet::new().block_on(&runtime, async {
            let tasks: Vec<_> =
                (0..connections).map(|_| tokio::task::spawn_local(Rc::clone(&run).connection())).collect();
            for task in tasks {
                if let Err(error) = task.await {
                    run.fail(&error.to_string());
                }
            }
        });
        run.permits.close();
        if let Some(pacer) = pacer {
            let _panicked = pacer.join();
        }
        let published = std::mem::take(&mut run.state.borrow_mut().published);
        Ok(published)
    }

    /// When nothing new is begun any more.
    fn end(&self, start: u32) -> u32 {
        start.saturating_add(u32::try_from(self.duration.as_micros()).unwrap_or(u32::MAX))
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 10 000")]
    fn batch_f64(&self) -> f64 {
        self.batch as f64
    }
}

/// Gives a permit for each request once its time has come, and so many spare ones at the end, for those who wait in vain.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of at most 20 million")]
fn pace(clock: Clock, permits: &Semaphore, start: u32, end: u32, per_micro: f64, (requests, spare): (usize, usize)) {
    let (mut given, mut now) = (0, start);
    while given < requests && now < end && !permits.is_closed() {
        now = micros(clock);
        let due = (f64::from(now.min(end) - start) * per_micro) as usize + 1;
        permits.add_permits(due.min(requests).saturating_sub(given));
        given = given.max(due.min(requests));
        // At low rates, too, a generator that has failed is noticed.
        let next = due_at(start, given, per_micro).saturating_sub(micros(clock));
        thread::sleep(Duration::from_micros(next.into()).clamp(TICK, Duration::from_millis(100)));
    }
    permits.add_permits(spare);
}

/// When a request of the schedule is due.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "at most an hour, in microseconds; a conversion ends at the bounds"
)]
fn due_at(start: u32, request: usize, per_micro: f64) -> u32 {
    start.saturating_add((request as f64 / per_micro) as u32)
}

struct Run {
    load: Load,
    start: u32,
    permits: Arc<Semaphore>,
    state: RefCell<State>,
}

struct State {
    published: Published,
    /// The number of the next event.
    next: usize,
}

/// The events of one request, and since when they wait to be sent.
struct Batch {
    first: usize,
    count: usize,
    due: Option<u32>,
}

impl Run {
    async fn connection(self: Rc<Self>) {
        if let Err(error) = self.posts().await {
            self.fail(&error.to_string());
        }
    }

    fn fail(&self, error: &str) {
        self.state.borrow_mut().published.failure.get_or_insert_with(|| error.to_owned());
        self.permits.close();
    }

    async fn posts(&self) -> io::Result<()> {
        let mut wire = Wire::connect(self.load.address).await?;
        let (mut request, mut used) = (Vec::new(), micros(self.load.clock));
        while let Some(Batch { first, count, due }) = self.take().await {
            let fan = self.load.fan;
            self.load.template.write((first..first + count).map(|event| (event, fan.group_of(event))), &mut request);
            let now = micros(self.load.clock);
            if now - used > IDLE {
                wire = Wire::connect(self.load.address).await?;
            }
            self.post(&mut wire, &request).await?;
            used = micros(self.load.clock);
            self.acknowledge(first, count, Sent { begun: due.unwrap_or(now), acknowledged: used });
        }
        Ok(())
    }

    /// The next events to be sent, when it is time.
    async fn take(&self) -> Option<Batch> {
        if self.load.rate.is_some() {
            self.permits.acquire().await.ok()?.forget();
        }
        let over = micros(self.load.clock) >= self.load.end(self.start);
        let mut state = self.state.borrow_mut();
        if over || state.published.failure.is_some() {
            return None;
        }
        let (first, count) = (state.next, self.load.batch.min(self.load.events - state.next));
        state.next += count;
        let per_micro = self.load.rate.map(|rate| rate / 1e6);
        (count > 0).then(|| Batch { first, count, due: per_micro.map(|rate| due_at(self.start, first, rate)) })
    }

    /// Posts until it is taken.
    async fn post(&self, wire: &mut Wire, request: &[u8]) -> io::Result<()> {
        loop {
            wire.write(request).await?;
            let answer = wire.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match answer.status() {
                200..=299 => return Ok(()),
                429 | 503 => self.state.borrow_mut().published.refused += 1,
                status => {
                    let body = String::from_utf8_lossy(answer.body.get(..500).unwrap_or(answer.body));
                    return Err(io::Error::other(format!("a publish was answered {status}: {body}")));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn acknowledge(&self, first: usize, count: usize, sent: Sent) {
        let sents = &mut self.state.borrow_mut().published.sent;
        sents.resize(sents.len().max(first + count), Sent::default());
        sents.iter_mut().skip(first).take(count).for_each(|slot| *slot = sent);
        self.load.acknowledged.fetch_add(count, Ordering::AcqRel);
    }
}
