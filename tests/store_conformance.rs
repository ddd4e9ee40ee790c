//! One suite of small cases run over every store. A further store joins by a factory in `store/fixture.rs` and a line here.

#![expect(unreachable_pub, reason = "modules of one test, not of a library")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "store/abreast.rs"]
mod abreast;
#[path = "store/accepting.rs"]
mod accepting;
#[path = "store/differential.rs"]
mod differential;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/people.rs"]
mod people;
#[cfg(feature = "postgres")]
#[path = "store/postgres_only.rs"]
mod postgres_only;
#[path = "store/queueing.rs"]
mod queueing;
#[path = "store/showing.rs"]
mod showing;
#[path = "store/sqlite_only.rs"]
mod sqlite_only;
#[cfg(feature = "postgres")]
#[path = "store/tls.rs"]
mod tls;

/// Every case over every store.
macro_rules! conformance {
    ($($module:ident :: { $($case:ident),* $(,)? })*) => {
        mod model {
            $($(#[tokio::test] async fn $case() { crate::$module::$case(crate::fixture::model().await).await })*)*
        }
        mod sqlite {
            $($(#[tokio::test] async fn $case() { crate::$module::$case(crate::fixture::sqlite().await).await })*)*
        }
        /// On a runtime of several threads callers write by themselves where nobody is beside them.
        mod sqlite_on_threads {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $case() { crate::$module::$case(crate::fixture::sqlite().await).await })*)*
        }
        #[cfg(feature = "postgres")]
        mod postgres {
            $($(#[tokio::test] async fn $case() { crate::$module::$case(crate::fixture::postgres().await).await })*)*
        }
        #[cfg(feature = "postgres")]
        mod postgres_through_pgbouncer {
            $($(#[tokio::test] async fn $case() { crate::$module::$case(crate::fixture::pooled().await).await })*)*
        }
    };
}

conformance! {
    abreast::{
        callers_beside_each_other_have_each_their_own_answer,
        callers_that_go_away_leave_nothing_half_done,
    }
    accepting::{
        the_same_conversion_is_captured_once,
        other_content_is_reported_and_changes_nothing,
        a_restatement_becomes_a_revision_and_supersedes_what_was_not_sent,
        a_restatement_with_another_click_is_refused,
        restating_back_to_the_first_value_is_a_restatement_too,
        adjustments_count_by_their_time_in_any_order,
        an_adjustment_needs_its_original,
        a_retraction_is_zero_in_the_same_currency,
        a_revision_waits_for_an_older_one_that_was_sent,
        a_dead_letter_gives_way_to_a_newer_revision,
        a_dead_letter_whose_newer_revision_goes_on_is_not_sent_again,
        a_transaction_id_has_one_owner,
        a_further_destination_gets_a_delivery_and_the_others_none,
        suppressed_people_are_not_captured,
        adjustments_of_suppressed_people_are_not_sent,
        another_organizations_destination_is_refused_whole,
    }
    queueing::{
        the_earliest_due_rows_are_claimed_first_up_to_the_limit,
        a_claimed_row_is_not_claimed_again,
        nothing_is_claimed_while_paused_disabled_or_removed,
        a_settle_with_a_lost_lease_changes_nothing,
        rows_that_are_queued_again_after_they_were_sent_are_counted_where_they_are,
        begin_records_nothing_if_a_row_was_lost,
        recovery_queues_unsent_rows_and_retries_sent_ones,
        recovery_knows_gone_workers_and_leaves_others_alone,
        a_hold_stops_what_waits_and_what_comes_and_release_lifts_it,
        rows_held_for_review_stay_until_somebody_has_reviewed_them,
        a_token_is_one_workers_own,
        rows_in_flight_are_open_work,
        a_held_action_holds_only_its_rows,
        verdicts_are_asked_for_when_due_and_settle_their_rows,
        a_question_that_a_gone_worker_had_taken_is_due_again,
        suppression_stops_rows_in_every_open_state,
        dead_letters_are_replayed_at_a_rate_or_given_up,
        removal_stops_open_rows_and_leaves_none_without_an_end,
        an_account_with_deliveries_stays,
        a_quota_is_shared,
        one_failing_command_leaves_its_neighbours_alone,
    }
    people::{
        a_lead_is_stored_with_its_status_score_and_content_and_counted,
        a_sites_own_id_names_one_lead_and_a_batch_that_is_not_as_expected_stores_nothing,
        an_update_needs_the_change_it_was_computed_from,
        leads_are_listed_by_change_in_both_directions_page_by_page,
        consent_is_only_ever_added_to_and_stays_when_the_lead_is_deleted,
        a_lead_and_its_conversions_are_stored_together_or_not_at_all,
        a_request_with_a_key_is_done_once_for_a_day_and_another_body_is_told,
        a_request_that_did_nothing_does_not_take_its_key,
        the_audit_log_says_who_and_one_entry_counts_many_leads_of_a_commit,
        rules_are_replaced_listed_and_removed,
        revoked_tokens_are_read_in_order_until_they_cannot_be_valid_anyway,
        a_replay_goes_on_until_it_is_stopped_or_finished,
    }
    showing::{
        pages_follow_each_other_in_both_directions,
        lists_are_filtered_by_state_order_id_and_change,
        the_status_counts_states_holds_and_value_at_risk,
        the_sum_closes,
        tenants_are_walls,
        the_audit_log_holds_and_names_acts_not_people,
        dead_letters_are_filtered_and_show_their_history,
    }
}
