//! Jobs: work on many dead letters, or on the events of an endpoint, in small steps, that goes on after a restart where it was.

mod throttle;

use std::{
    ops::RangeInclusive,
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::{info, warn};

use super::{Hookmill, Inner, ManageError};
use crate::{
    clock::Timestamp,
    dispatch,
    error::{Invalid, StoreError},
    event::new_id,
    store::{Advance, CountStep, DeadLetterSelection, Job, JobId, JobKind, JobState},
};
use throttle::Throttle;

/// What a job replays in a second, unless its maker says otherwise.
pub const REPLAY_RATE: f64 = 100.0;
/// What its maker may say.
const RATES: RangeInclusive<f64> = 0.1..=5000.0;
/// Jobs that run at once.
const MOST: usize = 16;
/// Of these, by one tenant's callers: one alone must not keep the others waiting.
const OF_A_TENANT: usize = 2;
/// Between two tries of a step that failed.
const RETRY: Duration = Duration::from_secs(1);

impl Hookmill {
    /// How many dead letters that were not replayed `selection` finds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_dead_letters(&self, selection: DeadLetterSelection) -> Result<u64, ManageError> {
        self.count_for_job(JobKind::ReplayDeadLetters, selection, self.0.clock.now().wall).await
    }

    pub(super) async fn count_for_job(
        &self,
        kind: JobKind,
        selection: DeadLetterSelection,
        at: Timestamp,
    ) -> Result<u64, ManageError> {
        let (mut step, mut matched) = (CountStep { kind, selection, at, after: None }, 0);
        loop {
            let counted = self.0.store.count_for_job(step.clone()).await?;
            matched += counted.matched;
            step.after = counted.next;
            if step.after.is_none() {
                return Ok(matched);
            }
        }
    }

    /// Starts a job that replays every dead letter which `selection` finds now, oldest first within each endpoint, so many
    /// in a second (0.1 to 5 000). Each is replayed once, also when the process is killed meanwhile: the job goes on with
    /// the next start. Dead letters whose endpoint is disabled or deleted are left alone, counted as `failed`.
    ///
    /// # Errors
    /// When the rate is out of bounds, 16 jobs run already, or the store cannot be read or written.
    pub async fn replay_dead_letters(&self, selection: DeadLetterSelection, rate: f64) -> Result<Job, ManageError> {
        expect_rate(rate)?;
        self.start_job(JobKind::ReplayDeadLetters, selection, Some(rate)).await
    }

    /// Starts a job that forgets every dead letter which `selection` finds now and was not replayed. No sum changes: they
    /// stay counted as dead letters, and are counted as purged too.
    ///
    /// # Errors
    /// When 16 jobs run already, or the store cannot be read or written.
    pub async fn purge_dead_letters(&self, selection: DeadLetterSelection) -> Result<Job, ManageError> {
        self.start_job(JobKind::PurgeDeadLetters, selection, None).await
    }

    /// How a job stands. One that has ended is kept as long as outcomes are.
    ///
    /// # Errors
    /// When there is none, or the store cannot be read.
    pub async fn job(&self, id: &JobId) -> Result<Job, ManageError> {
        self.0.store.job(id.clone()).await?.ok_or_else(|| unknown(id))
    }

    /// Ends a job; what it has done stays done. One that has ended stays as it is.
    ///
    /// # Errors
    /// When there is none, or the store cannot be written.
    pub async fn cancel_job(&self, id: &JobId) -> Result<Job, ManageError> {
        let job = self.0.store.end_job(id.clone(), JobState::Cancelled).await?;
        job.ok_or_else(|| unknown(id))
    }

    pub(super) async fn start_job(
        &self,
        kind: JobKind,
        selection: DeadLetterSelection,
        rate: Option<f64>,
    ) -> Result<Job, ManageError> {
        let running = self.0.store.running_jobs().await?;
        if running.len() >= MOST {
            return Err(ManageError::Busy(format!("{MOST} jobs are running already")));
        }
        let same = |job: &&Job| job.selection.within == selection.within;
        if selection.within.is_some() && running.iter().filter(same).count() >= OF_A_TENANT {
            return Err(ManageError::Busy(format!("{OF_A_TENANT} of this tenant's jobs are running already")));
        }
        let created_at = self.0.clock.now().wall;
        let total = self.count_for_job(kind, selection.clone(), created_at).await?;
        let id = new_id("job", created_at).parse().map_err(|_| StoreError::Failed("no id".to_owned()))?;
        let state = JobState::Running;
        let job = Job { id, kind, selection, rate, total, done: 0, failed: 0, state, created_at, ended_at: None };
        self.0.store.create_job(job.clone()).await?;
        info!(event = "job.started", job = %job.id, kind = kind.as_str(), total, "job started");
        self.run_job(&job);
        Ok(job)
    }

    /// Lets the jobs of an earlier life go on.
    pub(super) async fn resume_jobs(&self) -> Result<(), StoreError> {
        self.0.store.running_jobs().await?.iter().for_each(|job| self.run_job(job));
        Ok(())
    }

    fn run_job(&self, job: &Job) {
        let worker = Worker { hooks: Arc::downgrade(&self.0), id: job.id.clone(), throttle: Throttle::new(job.rate) };
        self.0.arbiter.spawn(worker.work());
    }
}

pub(super) fn expect_rate(rate: f64) -> Result<(), Invalid> {
    if RATES.contains(&rate) {
        return Ok(());
    }
    Err(Invalid::at("#/rate", format!("must be a number from {} to {}", RATES.start(), RATES.end())))
}

fn unknown(id: &JobId) -> ManageError {
    ManageError::NotFound(format!("job {id}"))
}

/// Works on one job as long as there is a Hookmill that takes events in.
struct Worker {
    hooks: Weak<Inner>,
    id: JobId,
    throttle: Throttle,
}

impl Worker {
    async fn work(mut self) {
        while let Some(pause) = self.step().await {
            tokio::time::sleep(pause).await;
        }
    }

    /// One step; tells when to make the next, if there is one.
    async fn step(&mut self) -> Option<Duration> {
        let hooks = self.hooks.upgrade().map(Hookmill).filter(|hooks| !hooks.0.intake.is_closed())?;
        let now = hooks.0.clock.now().mono;
        let most = match self.throttle.allowance(now) {
            Ok(most) => most,
            Err(next) => return Some(next.since(now)),
        };
        match hooks.0.store.advance_job(self.id.clone(), most).await {
            Ok(Some(Advance { job, replayed })) => {
                let pause = self.throttle.pause(replayed.len());
                self.throttle.spend(replayed.len(), now);
                replayed.into_iter().for_each(|id| hooks.0.dispatcher.do_send(dispatch::Replayed(id)));
                if job.state == JobState::Running {
                    return Some(pause);
                }
                let Job { id, kind, state, done, failed, .. } = job;
                let (kind, state) = (kind.as_str(), state.as_str());
                info!(event = "job.finished", job = %id, kind, state, done, failed, "job ended");
                None
            }
            Ok(None) | Err(StoreError::Closed) => None,
            Err(error) => {
                warn!(job = %self.id, %error, "a step of a job failed; it is made again");
                Some(RETRY)
            }
        }
    }
}
