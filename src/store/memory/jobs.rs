//! Jobs: work on many dead letters, or on the events of an endpoint.

use std::collections::BTreeMap;

use super::{
    super::{jobs::LETTER_STEP, *},
    dead_letters::End,
    state::{Standing, State},
};

/// Jobs that have ended and are kept.
const ENDED: usize = 1000;

/// Every job by its id, with the place up to which it has worked.
#[derive(Default)]
pub(super) struct Jobs(BTreeMap<JobId, (Job, Option<LetterPlace>)>);

impl Jobs {
    pub(super) fn create(&mut self, job: Job) -> Result<(), StoreError> {
        if self.0.contains_key(&job.id) {
            return Err(StoreError::Failed(format!("there is a job {} already", job.id)));
        }
        let ended = || self.0.values().filter_map(|(job, _)| Some((job.ended_at?, job.id.clone())));
        if ended().count() >= ENDED
            && let Some((_, oldest)) = ended().min()
        {
            self.0.remove(&oldest);
        }
        self.0.insert(job.id.clone(), (job, None));
        Ok(())
    }

    pub(super) fn get(&self, id: &JobId) -> Option<Job> {
        self.0.get(id).map(|(job, _)| job.clone())
    }

    pub(super) fn running(&self) -> Vec<Job> {
        let jobs = self.0.values().map(|(job, _)| job);
        jobs.filter(|job| job.state == JobState::Running).cloned().collect()
    }

    pub(super) fn end(&mut self, id: &JobId, state: JobState, now: Timestamp) -> Option<Job> {
        let (job, _) = self.0.get_mut(id)?;
        job.end(state, now);
        Some(job.clone())
    }
}

impl State {
    /// The dead letters that were not replayed, oldest first within each endpoint, from above this one.
    fn letters_above(&self, selection: &DeadLetterSelection, after: Option<LetterPlace>) -> Vec<LetterPlace> {
        let DeadLetterSelection { endpoint, within, .. } = selection;
        let endpoint = *endpoint;
        let from = endpoint.max(after.map(|place| place.endpoint));
        let endpoints = self.endpoints.range(from.unwrap_or(EndpointKey(i64::MIN))..);
        let endpoints = endpoints.take_while(|(key, _)| endpoint.is_none_or(|wanted| **key == wanted));
        let endpoints = endpoints.filter(|(_, one)| within.is_none() || one.tenant == *within);
        let places = endpoints.flat_map(|(key, endpoint)| endpoint.letters.places(*key));
        places.filter(|place| after.is_none_or(|after| *place > after)).take(LETTER_STEP).collect()
    }

    fn is_selected(&self, place: &LetterPlace, selection: &DeadLetterSelection, at: Timestamp) -> bool {
        let Some(delivery) = self.deliveries.get(&place.delivery()) else { return false };
        let Standing::Dead { reason, .. } = delivery.standing else { return false };
        let event = self.events.get(&place.seq).map(|kept| &kept.event);
        let letter = jobs::Letter {
            endpoint: place.endpoint,
            reason: reason.as_str(),
            since: place.since,
            topic: event.map(|event| &event.topic),
            tenant: event.and_then(|event| event.tenant.as_ref()),
            of: self.endpoints.get(&place.endpoint).and_then(|endpoint| endpoint.tenant.as_ref()),
        };
        Job::precedes(at, place, delivery.created_at) && selection.matches(&letter)
    }

    /// What one step looks at, each with whether the job works on it.
    fn look(&self, step: &CountStep) -> Vec<(LetterPlace, bool)> {
        if step.kind.is_of_events() {
            return self.look_at_events(step);
        }
        let places = self.letters_above(&step.selection, step.after).into_iter();
        places.map(|place| (place, self.is_selected(&place, &step.selection, step.at))).collect()
    }

    pub(super) fn count_for_job(&self, step: &CountStep) -> Counted {
        let found = self.look(step);
        let matched = found.iter().filter(|(_, meant)| *meant).count();
        let next = found.last().filter(|_| found.len() == LETTER_STEP).map(|(place, _)| *place);
        Counted { matched: matched as u64, next }
    }

    pub(super) fn advance_job(&mut self, id: &JobId, most: usize, now: Timestamp) -> Option<Advance> {
        let (mut job, mut place) = self.jobs.0.get(id)?.clone();
        let mut replayed = Vec::new();
        if job.state != JobState::Running {
            return Some(Advance { job, replayed });
        }
        let step = CountStep { kind: job.kind, selection: job.selection.clone(), at: job.created_at, after: place };
        let looked_at = self.look(&step);
        let mut end = looked_at.len() < LETTER_STEP;
        let mut worked = 0;
        for (next, selected) in looked_at {
            if selected && (worked == most || job.is_through()) {
                end = false;
                break;
            }
            place = Some(next);
            if selected {
                worked += 1;
                self.work(&mut job, next.delivery(), now, &mut replayed);
            }
        }
        if end || job.is_through() {
            job.end(JobState::Finished, now);
        }
        self.jobs.0.insert(id.clone(), (job.clone(), place));
        Some(Advance { job, replayed })
    }

    fn work(&mut self, job: &mut Job, id: DeliveryId, now: Timestamp, replayed: &mut Vec<DeliveryId>) {
        match job.kind {
            JobKind::PurgeDeadLetters => {
                self.end_letter(id, End::Purged);
                job.done += 1;
            }
            kind => match self.replay_unless_dropped(kind, id, now) {
                Some(new) => {
                    replayed.push(new);
                    job.done += 1;
                }
                None => job.failed += 1,
            },
        }
    }

    fn replay_unless_dropped(&mut self, kind: JobKind, id: DeliveryId, now: Timestamp) -> Option<DeliveryId> {
        self.endpoints.get(&id.endpoint).filter(|endpoint| endpoint.dropping.is_none())?;
        let outcome = if kind.is_of_events() { self.redeliver(id.seq, id.endpoint, now) } else { self.replay(id, now) };
        match outcome {
            ReplayOutcome::Replayed(new) => Some(new),
            _ => None,
        }
    }
}
