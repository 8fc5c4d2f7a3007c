//! What every store must do, as tests that any of them can be put to: [`contract!`] makes one test of each scenario, and
//! [`model`] runs random histories against one store, or against two that must answer alike.
//!
//! A store may answer on threads of its own; the scenarios wait for each answer and assume no turn.

pub(in crate::store) mod batches;
pub(in crate::store) mod bench;
pub(in crate::store) mod cancelling;
pub(in crate::store) mod dead_letters;
pub(in crate::store) mod debouncing;
pub(in crate::store) mod holding;
pub(in crate::store) mod model;
pub(in crate::store) mod queues;
mod reading;
pub(in crate::store) mod replays;
pub(in crate::store) mod scenarios;
pub(in crate::store) mod tenants;
pub(in crate::store) mod watching;

/// One `#[test]` for each scenario. `$open` is called as a function for each of them; it gives an empty store as
/// `Arc<dyn Store>`, and whatever must live as long as it, such as its directory.
macro_rules! contract {
    ($open:expr) => {
        $crate::store::contract::contract!($open, scenarios;
            seqs_are_gapless_and_duplicates_take_none,
            the_sink_gets_each_new_event_once_in_order,
            a_conflict_refuses_the_whole_group,
            a_group_may_hold_duplicates_of_itself,
            a_group_that_contradicts_itself_is_refused,
            tenants_have_ids_of_their_own,
            an_event_comes_back_as_it_went_in,
            permits_return_when_the_verdict_is_recorded,
            a_verdict_and_its_outcome_at_once,
            a_retry_then_delivered,
            an_outcome_without_an_attempt,
            a_late_outcome_is_without_effect,
            targets_can_be_dropped_at_once,
            a_dead_letter_is_replayed_once,
            a_replay_needs_its_endpoint,
            dead_letters_are_listed_highest_first,
            deleting_drops_what_is_pending,
            disabling_drops_what_is_pending_until_enabled,
            versions_count_changes,
            an_id_is_free_again_after_deletion,
            endpoints_follow_each_other_by_key,
            fresh_pages_follow_each_other,
            retry_pages_follow_each_other,
            strict_pages_hold_all,
            pages_are_bounded_by_bytes,
            lists_of_events_are_bounded_by_bytes,
            an_event_shows_its_deliveries,
            attempts_of_an_event_oldest_first,
            responses_are_kept_for_failures_only,
            attempts_of_an_endpoint_newest_event_first,
            events_are_filtered,
            what_is_not_judged_is_there_for_recovery,
            windows_follow_their_verdicts,
            rules_go_with_their_windows,
            a_rule_that_changes_forgets_its_windows,
            chains_are_kept_until_removed,
            breakers_are_kept,
            totals_of_endpoints_add_up_to_the_whole,
            calls_after_close_fail,
        );
        $crate::store::contract::contract!($open, debouncing;
            a_held_event_is_judged_and_released_later,
            a_released_event_is_delivered_at_once_or_pending_since_then,
            a_later_one_replaces_a_held_one,
            what_a_window_holds_is_there_for_recovery,
            windows_change_in_the_order_of_the_calls,
            what_an_event_carries_comes_back_with_it,
            rules_count_what_they_suppress_and_replace,
            an_event_has_failed_when_no_delivery_can_arrive_any_more,
            an_endpoint_may_suppress_for_itself_alone,
            a_suppressed_delivery_neither_fails_nor_succeeds,
        );
        $crate::store::contract::contract!($open, holding;
            an_endpoint_may_hold_for_itself_alone,
            what_an_endpoint_held_is_delivered_late,
            a_later_one_suppresses_what_an_endpoint_held,
            what_an_endpoint_holds_is_there_for_recovery,
            what_an_endpoint_did_not_get_is_carried_there_alone,
            what_is_held_is_cancelled_dropped_and_takes_room_like_what_is_pending,
            a_failure_at_one_endpoint_is_told_apart,
            what_is_about_to_be_dropped_has_failed,
        );
        $crate::store::contract::contract!($open, cancelling;
            cancelling_drops_what_is_pending,
            cancelling_asks_for_topic_and_time,
            cancelling_goes_in_steps,
            what_was_cancelled_in_flight_may_still_arrive,
        );
        $crate::store::contract::contract!($open, dead_letters;
            the_oldest_dead_letter_falls_off_when_there_are_too_many,
            dead_letters_weigh_no_more_than_allowed,
            dead_letters_grow_too_old,
            dead_letters_are_selected,
            a_job_replays_each_dead_letter_once,
            a_job_leaves_disabled_endpoints_alone,
            a_job_purges_what_it_selects,
            a_job_that_was_cancelled_does_no_more,
            a_long_job_goes_in_steps,
        );
        $crate::store::contract::contract!($open, replays;
            an_event_is_delivered_again_unless_it_waits,
            a_job_replays_what_failed_or_is_missing_or_all,
            a_job_goes_through_the_events_of_its_time,
            a_job_on_events_leaves_a_disabled_endpoint_alone,
            deliveries_of_an_endpoint_newest_event_first,
        );
        $crate::store::contract::contract!($open, batches;
            a_batch_is_read_from_each_of_its_events,
            a_batch_that_failed_shows_its_answer_everywhere,
            a_delivery_may_be_in_one_batch_after_another,
        );
        $crate::store::contract::contract!($open, queues;
            a_queue_drops_the_oldest_beyond_its_items,
            a_queue_that_drops_the_newest_keeps_what_waits,
            a_queue_drops_beyond_its_bytes,
            what_is_in_flight_neither_counts_nor_is_dropped,
            nothing_falls_off_for_what_does_not_wait,
            what_was_dropped_in_flight_may_still_arrive,
            lower_bounds_hold_from_the_next_verdict_on,
            what_is_released_together_with_later_events_is_bounded_too,
            whoever_comes_first_takes_the_room,
            retries_and_replays_take_room_too,
            pages_leave_keys_out_and_look_at_so_many_only,
            pages_of_one_key,
        );
        $crate::store::contract::contract!($open, tenants;
            an_attempt_tells_whom_it_reached,
            a_tenant_finds_its_own_events_and_deliveries,
            a_tenant_finds_its_own_dead_letters,
            a_tenant_finds_the_attempts_of_its_own_events,
            a_tenant_cancels_what_is_its_own,
            a_job_for_a_tenant_touches_nothing_of_others,
            a_tenant_finds_the_deliveries_of_its_own_endpoint,
            a_job_delivers_a_tenants_own_events_again,
            a_job_ends_when_the_endpoint_is_the_tenants_no_more,
            an_endpoint_is_its_tenants_as_its_settings_say,
            tokens_are_kept_until_deleted,
            a_token_was_used_last_when_it_was_used_last,
        );
        $crate::store::contract::contract!($open, watching;
            vitals_name_who_waits_and_who_fails,
            vitals_count_dead_letters_that_were_not_replayed,
        );
    };
    ($open:expr, $part:ident; $($scenario:ident,)*) => {
        $(
            #[test]
            fn $scenario() {
                let (store, _alive) = $open();
                $crate::store::contract::$part::$scenario(&$crate::store::contract::bench::Bench::new(store));
            }
        )*
    };
}
pub(in crate::store) use contract;
