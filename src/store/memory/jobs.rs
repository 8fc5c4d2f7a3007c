//! Jobs: work on many dead letters.

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

    pub(super) fn count_dead_letters(&self, step: &CountStep) -> Counted {
        let places = self.letters_above(&step.selection, step.after);
        let matched = places.iter().filter(|place| self.is_selected(place, &step.selection, step.at)).count();
        Counted { matched: matched as u64, next: places.last().copied().filter(|_| places.len() == LETTER_STEP) }
    }

    pub(super) fn advance_job(&mut self, id: &JobId, most: usize, now: Timestamp) -> Option<Advance> {
        let (mut job, mut place) = self.jobs.0.get(id)?.clone();
        let mut replayed = Vec::new();
        if job.state != JobState::Running {
            return Some(Advance { job, replayed });
        }
        let looked_at = self.letters_above(&job.selection, place);
        let mut end = looked_at.len() < LETTER_STEP;
        let mut worked = 0;
        for next in looked_at {
            let selected = self.is_selected(&next, &job.selection, job.created_at);
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
            JobKind::ReplayDeadLetters => match self.replay_unless_dropped(id, now) {
                Some(new) => {
                    replayed.push(new);
                    job.done += 1;
                }
                None => job.failed += 1,
            },
        }
    }

    fn replay_unless_dropped(&mut self, id: DeliveryId, now: Timestamp) -> Option<DeliveryId> {
        self.endpoints.get(&id.endpoint).filter(|endpoint| endpoint.dropping.is_none())?;
        match self.replay(id, now) {
            ReplayOutcome::Replayed(new) => Some(new),
            _ => None,
        }
    }
}
