//! Signing secrets that are replaced while events flow, and the end of the old ones.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tracing::{info, warn};

use super::{
    Hookmill, ManageError,
    manage::{expect_version, not_found},
};
use crate::{
    clock::Timestamp,
    endpoint::{Endpoint, EndpointId, RotationError, SecretRotation, Settings},
    error::StoreError,
};

/// Ends that somebody waits for.
pub(crate) type Ends = std::sync::Mutex<BTreeSet<(Timestamp, EndpointId)>>;

/// Between two tries to forget what has ended.
const RETRY: Duration = Duration::from_secs(60);

impl Hookmill {
    /// Signs with another secret from the next attempt on: the one that is brought, or a generated one of the same kind. The
    /// old ones sign too until the overlap is over (24 h unless said otherwise), also after a restart; then they are
    /// forgotten. A plain HMAC has room for one signature: its old secret ends at once.
    ///
    /// # Errors
    /// Every mistake at once; as for [`Hookmill::replace_endpoint`]; a conflict when the endpoint is not signed.
    pub async fn rotate_secret(
        &self,
        id: &EndpointId,
        rotation: &SecretRotation,
        version: Option<u64>,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let (id, rotation) = (id.clone(), rotation.clone());
        self.change(|hooks| async move {
            let old = hooks.endpoint(&id).ok_or_else(|| not_found(&id))?;
            hooks.rotate(&old, &rotation, version).await
        })
        .await
    }

    pub(super) async fn rotate(
        &self,
        old: &Endpoint,
        rotation: &SecretRotation,
        version: Option<u64>,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let id = &old.id;
        expect_version(old, version)?;
        let signing = old.settings.signing.rotated(rotation, self.0.clock.now().wall);
        let signing = signing.map_err(|error| match error {
            RotationError::Invalid(invalid) => invalid.into(),
            RotationError::Unsigned => ManageError::Conflict(format!("{id}: {error}")),
            RotationError::Random(_) => StoreError::Failed(error.to_string()).into(),
        })?;
        let rotated = self.update(old, Settings { signing, ..old.settings.clone() }).await?;
        info!(event = "endpoint.secret_rotated", endpoint_id = %id, "signing secret rotated");
        Ok(rotated)
    }

    /// Has the next secret of `endpoint` that ends forgotten at its time.
    pub(super) fn await_end(&self, endpoint: &Endpoint) {
        let Some(end) = endpoint.settings.signing.next_end() else { return };
        let awaited = (end, endpoint.id.clone());
        if !self.0.ends.lock().unwrap_or_else(PoisonError::into_inner).insert(awaited.clone()) {
            return;
        }
        let (weak, clock) = (Arc::downgrade(&self.0), self.0.clock);
        self.0.arbiter.spawn(async move {
            loop {
                let left = end.since(clock.now().wall);
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left).await;
            }
            while let Some(hooks) = weak.upgrade().map(Self) {
                hooks.0.ends.lock().unwrap_or_else(PoisonError::into_inner).remove(&awaited);
                match hooks.forget_ended(&awaited.1).await {
                    Ok(()) | Err(ManageError::Store(StoreError::Closed)) => break,
                    Err(error) => {
                        warn!(endpoint_id = %awaited.1, %error, "a secret that ended could not be forgotten yet");
                    }
                }
                drop(hooks);
                tokio::time::sleep(RETRY).await;
            }
        });
    }

    async fn forget_ended(&self, id: &EndpointId) -> Result<(), ManageError> {
        let _one_at_a_time = self.turn().await;
        let Some(old) = self.endpoint(id) else { return Ok(()) };
        match old.settings.signing.without_ended(self.0.clock.now().wall) {
            Some(signing) => {
                let settings = Settings { signing, ..old.settings.clone() };
                drop(self.store_and_apply(&old, settings, None).await?);
                info!(event = "endpoint.secret_ended", endpoint_id = %id, "old signing secret forgotten");
            }
            None => self.await_end(&old),
        }
        Ok(())
    }
}
