//! Jobs: work on many dead letters, or on the events of an endpoint, in small steps, that goes on after a restart where it was.

mod throttle;

use std::{
    ops::RangeInclusive,
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::{info, warn};

use super::{Hookmill, Inner, ManageError, turn};
use crate::{
    clock::Timestamp,
    dispatch,
    error::{Invalid, StoreError},
    event::{Tenant, new_id},
    store::{Advance, CountStep, DeadLetterSelection, Job, JobId, JobKind, JobState},
};
use throttle::Throttle;

/// What a job replays in a second, unless its maker says otherwise.
pub const REPLAY_RATE: f64 = 100.0;
/// What its maker may say.
pub(crate) const REPLAY_RATES: RangeInclusive<f64> = 0.1..=5000.0;
/// Jobs that run at once.
const MOST: usize = 16;
/// Of these, by tenants' callers: the rest is for callers without a tenant.
const OF_TENANTS: usize = 12;
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
        // What finds no place is not counted first.
        self.expect_place(selection.within.as_ref()).await?;
        let created_at = self.0.clock.now().wall;
        let total = self.count_for_job(kind, selection.clone(), created_at).await?;
        let id = new_id("job", created_at).parse().map_err(|_| StoreError::Failed("no id".to_owned()))?;
        let state = JobState::Running;
        let job = Job { id, kind, selection, rate, total, done: 0, failed: 0, state, created_at, ended_at: None };
        // In a place that nobody takes meanwhile.
        let turn = turn(&self.0.job_places).await;
        self.see_through(turn, |hooks| async move {
            hooks.expect_place(job.selection.within.as_ref()).await?;
            hooks.0.store.create_job(job.clone()).await?;
            info!(event = "job.started", job = %job.id, kind = kind.as_str(), total, "job started");
            hooks.run_job(&job);
            Ok(job)
        })
        .await
    }

    async fn expect_place(&self, within: Option<&Tenant>) -> Result<(), ManageError> {
        let running = self.0.store.running_jobs().await?;
        expect_place_beside(running.iter().map(|job| job.selection.within.as_ref()), within)
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

/// Whether a job of `within` may run beside `running`, each of the tenant who made it; if not, why.
fn expect_place_beside<'a>(
    running: impl Iterator<Item = Option<&'a Tenant>>,
    within: Option<&Tenant>,
) -> Result<(), ManageError> {
    let (mut all, mut of_tenants, mut of_this) = (0, 0, 0);
    for of in running {
        all += 1;
        of_tenants += usize::from(of.is_some());
        of_this += usize::from(of == within);
    }
    match within {
        Some(_) if of_this >= OF_A_TENANT => {
            Err(ManageError::Quota(format!("{OF_A_TENANT} of this tenant's jobs are running already")))
        }
        Some(_) if of_tenants >= OF_TENANTS => {
            Err(ManageError::Busy(format!("{OF_TENANTS} jobs of tenants are running already")))
        }
        _ if all >= MOST => Err(ManageError::Busy(format!("{MOST} jobs are running already"))),
        _ => Ok(()),
    }
}

pub(super) fn expect_rate(rate: f64) -> Result<(), Invalid> {
    if REPLAY_RATES.contains(&rate) {
        return Ok(());
    }
    Err(Invalid::at("#/rate", format!("must be a number from {} to {}", REPLAY_RATES.start(), REPLAY_RATES.end())))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(n: usize) -> Tenant {
        format!("t{n}").parse().unwrap()
    }

    /// How many jobs find a place when each of these asks once.
    fn placed(asked: impl Iterator<Item = Option<Tenant>>) -> Vec<Option<Tenant>> {
        let mut running = Vec::new();
        for of in asked {
            if expect_place_beside(running.iter().map(Option::as_ref), of.as_ref()).is_ok() {
                running.push(of);
            }
        }
        running
    }

    #[test]
    fn tenants_leave_places_to_callers_without_one() {
        assert_eq!(placed((0..150).map(|_| Some(tenant(1)))).len(), OF_A_TENANT);
        let running = placed((0..150).map(|n| Some(tenant(n % 30))).chain((0..150).map(|_| None)));
        let of_tenants = running.iter().flatten().count();
        assert_eq!((running.len(), of_tenants), (MOST, OF_TENANTS));
        assert_eq!(placed((0..150).map(|_| None)).len(), MOST, "what tenants do not take is not kept for them");
    }
}
