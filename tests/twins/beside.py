"""Broken twins beside those of codes and certificates: reminders, messages at gateways, former issuers, imports."""

from tests.twins.twins import Twin, twin

QUEUE = "tests/contract/test_guards_queue.py"
LIVING = "tests/contract/test_guards_living.py"
DELIVERIES = "tests/contract/test_guards_deliveries.py"
ALARMS = "tests/contract/test_guards_alarms.py"
IMPORTED = "tests/contract/test_guards_imported.py"
FORMER = "tests/contract/test_guards_former.py"

TWINS_OF_MESSAGES = (
    twin(
        "a reminder is sent of a certificate that was replaced",
        "store/repositories/reminders/queue.py",
        "AND {_LIVES} AND NOT {_LATE}",
        "AND NOT {_LATE}",
        f"{QUEUE}::test_each_reminder_stands_or_falls_with_its_own_certificates[sqlite]",
    ),
    Twin(
        "reminders go out while a code waits",
        "store/repositories/reminders/queue.py",
        (
            ("WHERE {_DUE} AND NOT {_CODES} LIMIT :most", "WHERE {_DUE} LIMIT :most"),
            ("AND NOT {_PAUSED} AND NOT {_CODES}\n", "AND NOT {_PAUSED}\n"),
        ),
        f"{QUEUE}::test_reminders_wait_while_a_code_waits_that_is_due_and_not_on_its_way[sqlite-work0-True]",
    ),
    twin(
        "a reminder that may have been sent is called stopped",
        "store/repositories/reminders/queue.py",
        "state = CASE WHEN holder IS NULL THEN CAST(:state AS TEXT) ELSE 'unknown' END",
        "state = CAST(:state AS TEXT)",
        f"{QUEUE}::test_one_that_somebody_held_who_is_gone_may_have_been_sent[sqlite]",
    ),
    twin(
        "a reminder is ended by whoever lost its lease",
        "store/repositories/reminders/queue.py",
        "((state = 'planned' AND holder = :holder AND leased_until > 0)",
        "((state = 'planned' AND (holder = :holder OR 1 = 1) AND leased_until > 0)",
        f"{QUEUE}::test_a_reminder_is_ended_by_whoever_holds_it_and_what_was_sent_is_never_unknown"
        "[sqlite-row1-outcome1-False]",
    ),
    twin(
        "an imported certificate is replaced by another customer's",
        "store/repositories/reminders/living.py",
        "WHERE g.customer = i.customer AND g.profile",
        "WHERE g.profile",
        f"{LIVING}::test_an_imported_one_is_replaced_by_an_active_one_of_ours_with_its_profile[sqlite-ours1-True]",
    ),
    twin(
        "a day that was sent takes another step, which nobody sends",
        "store/repositories/reminders/plans.py",
        "AND r.day = :day AND COALESCE(r.state, '') = :state\n",
        "AND r.day = :day AND (COALESCE(r.state, '') = :state OR 1 = 1)\n",
        f"{LIVING}::test_a_day_that_was_sent_takes_no_more_steps_and_no_step_is_told_twice[sqlite]",
    ),
    twin(
        "a gateway whose answer was lost gets the message again",
        "store/repositories/messaging/deliveries.py",
        "WHERE deliveries.fate = 'later'",
        "WHERE deliveries.fate IN ('later', 'unknown')",
        f"{DELIVERIES}::test_a_message_goes_to_a_gateway_that_has_not_and_cannot_have_it[sqlite-before4-told4]",
    ),
    twin(
        "a message that one gateway took goes to the next",
        "store/repositories/messaging/deliveries.py",
        "WHERE message = CAST(:message AS TEXT) AND fate = 'taken')",
        "WHERE message = CAST(:message AS TEXT) AND fate = 'taken' AND 1 = 0)",
        f"{DELIVERIES}::test_a_message_goes_to_a_gateway_that_has_not_and_cannot_have_it[sqlite-before6-told6]",
    ),
    twin(
        "a report is taken for another gateway's message",
        "store/repositories/messaging/deliveries.py",
        '_BY_PROVIDER = "d.gateway = :gateway AND d.provider_id',
        '_BY_PROVIDER = "(d.gateway = :gateway OR 1 = 1) AND d.provider_id',
        f"{DELIVERIES}::test_a_report_is_the_last_word_unless_the_message_has_arrived[sqlite-row0-failed-failed]",
    ),
    twin(
        "a code that did not arrive in its minutes makes a contact dead",
        "store/repositories/messaging/deliveries.py",
        "ON w.id = d.message AND w.kind = 'notice'",
        "ON w.id = d.message",
        f"{DELIVERIES}::test_a_notice_that_failed_marks_its_own_contact_and_no_newer_one[sqlite-work1-None-None]",
    ),
    twin(
        "an alarm that came back is told to be over",
        "store/repositories/messaging/alarms.py",
        "AND kind = :kind AND well_at IS NOT NULL",
        "AND kind = :kind",
        f"{ALARMS}::test_what_came_back_while_it_was_told_to_be_over_is_not_over[sqlite]",
    ),
)

TWINS_OF_FORMER_ISSUERS = (
    twin(
        "certificates count before their import is finished",
        "store/repositories/ra/imported_certificates.py",
        "WHERE r.run = i.run AND r.state = 'live' LIMIT",
        "WHERE r.run = i.run AND r.state <> 'given_up' LIMIT",
        f"{IMPORTED}::test_living_are_active_ones_of_the_customer_from_finished_runs_the_longest_first[sqlite]",
    ),
    twin(
        "an import under way takes what counts for itself",
        "store/repositories/ra/certificate_import.py",
        "WHERE NOT {COUNTS}\n",
        "WHERE 1 = 1\n",
        f"{IMPORTED}::test_a_run_stages_again_what_another_left_and_never_what_counts[sqlite-live]",
    ),
    twin(
        "an import is finished before all of it was read",
        "store/repositories/ra/certificate_import.py",
        "WHERE run = :run AND done = :done AND state = 'staging' RETURNING run",
        "WHERE run = :run AND (done = :done OR 1 = 1) AND state = 'staging' RETURNING run",
        f"{IMPORTED}::test_a_run_is_finished_once_as_far_as_it_was_read[sqlite-under_way-1]",
    ),
    twin(
        "another CA's list ends a certificate with the same number",
        "store/repositories/ra/imported_certificates.py",
        "ON f.issuer = i.issuer AND f.serial = i.serial",
        "ON f.serial = i.serial",
        f"{IMPORTED}::test_listed_as_revoked_are_active_ones_that_their_own_ca_has_revoked_for_good[sqlite]",
    ),
    twin(
        "an older list ends what a newer one revokes",
        "store/repositories/va/former.py",
        "AND (this_update IS NULL OR this_update <= :this_update)",
        "AND (this_update IS NULL OR this_update <= :this_update OR 1 = 1)",
        f"{FORMER}::test_no_older_list_takes_the_place_of_a_newer_one_nor_ends_its_entries[sqlite-4-False]",
    ),
    twin(
        "a list ends what another list of its CA revokes",
        "store/repositories/va/former.py",
        "WHERE issuer = :issuer AND place = :place AND generation < :generation",
        "WHERE issuer = :issuer AND (place = :place OR 1 = 1) AND generation < :generation",
        f"{FORMER}::test_with_a_list_end_the_entries_before_it_at_its_place_and_no_others[sqlite]",
    ),
)
