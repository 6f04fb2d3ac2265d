"""Which tests concern a module: the table of `make mutants`. Of these, a fault meets those that call its function.

The nearest tests come first: a fault that they notice costs the others nothing.
"""

_CODES = (
    "tests/unit/stepup", "tests/contract/test_guards_rows.py", "tests/contract/test_guards_codes.py",
    "tests/contract/test_barriers.py", "tests/contract/test_journey_codes.py",
    "tests/contract/test_both_codes.py", "tests/contract/test_delay.py", "tests/contract/test_holds.py",
    "tests/contract/test_delivery.py", "tests/contract/test_races_codes.py",
    "tests/contract/test_clock.py", "tests/contract/test_key_blocks.py", "tests/contract/test_whose_key.py",
    "tests/contract/test_journey_revocation.py", "tests/contract/test_stops.py",
)  # fmt: skip
_ORDERS = (
    "tests/unit/ra", "tests/contract/test_guards_rows.py", "tests/contract/test_guards_keys.py",
    "tests/contract/test_guards_orders.py", "tests/contract/test_guards_records.py",
    "tests/contract/test_barriers.py", "tests/contract/test_whose_key.py", "tests/contract/test_both_codes.py",
    "tests/contract/test_journeys.py", "tests/contract/test_journey_orders.py", "tests/contract/test_journey_keys.py",
    "tests/contract/test_delay.py", "tests/contract/test_endings.py",
    "tests/contract/test_key_blocks.py", "tests/contract/test_disputes.py", "tests/contract/test_stops.py",
    "tests/contract/test_races_orders.py", "tests/contract/test_no_overlap.py",
    "tests/contract/test_issuance.py", "tests/contract/test_program.py", "tests/contract/test_program_rules.py",
)  # fmt: skip
_REVOCATION = (
    "tests/contract/test_guards_rows.py",
    "tests/contract/test_guards_endings.py", "tests/contract/test_guards_orders.py", "tests/contract/test_barriers.py",
    "tests/contract/test_journey_revocation.py",
    "tests/contract/test_revocation.py", "tests/contract/test_suspension.py",
)  # fmt: skip
_ISSUANCE = (
    "tests/unit/ca", "tests/contract/test_guards_serials.py", "tests/contract/test_guards_issuance.py",
    "tests/contract/test_barriers.py", "tests/contract/test_issuance.py",
    "tests/contract/test_distrust.py", "tests/contract/test_revocation.py", "tests/contract/test_suspension.py",
    "tests/contract/test_rollover.py", "tests/contract/issuers/test_conformance.py",
    "tests/contract/test_presigning.py", "tests/contract/test_algorithms.py",
)  # fmt: skip
_FOREIGN = (
    "tests/contract/issuers/test_named_requests.py", "tests/contract/issuers/test_conformance.py",
    "tests/contract/issuers/test_faults.py", "tests/contract/issuers/test_cmp.py", "tests/contract/issuers/test_est.py",
    "tests/contract/issuers/test_by_hand.py", "tests/contract/issuers/test_stored.py",
)  # fmt: skip
_STATUS = (
    "tests/unit/pki/test_ocsp.py", "tests/contract/test_guards_issuance.py", "tests/contract/test_guards_status.py",
    "tests/contract/test_status.py",
    "tests/contract/test_presigning.py", "tests/contract/test_lists.py", "tests/contract/test_suspension.py",
    "tests/contract/test_rollover.py", "tests/contract/test_lookout.py", "tests/web/test_publication.py",
    "tests/property/pki/test_inputs.py",
)  # fmt: skip
_IMPORTS = (
    "tests/unit/ra/test_certificate_files.py", "tests/unit/ra/test_certificate_subjects.py",
    "tests/unit/ra/test_certificate_judging.py", "tests/unit/ra/test_certificate_tally.py",
    "tests/unit/cli/test_certificate_report.py", "tests/contract/test_certificate_import.py",
    "tests/contract/test_imported.py", "tests/contract/test_former_issuers.py",
    "tests/property/ra/test_subject_templates.py",
)  # fmt: skip
_FORMER = (
    "tests/unit/va/test_former_fetch.py", "tests/unit/va/test_former_list_rules.py",
    "tests/unit/app/test_former_issuers.py", "tests/unit/pki/test_crl_reading.py",
    "tests/unit/pki/test_ocsp_reading.py", "tests/contract/test_former_lists.py",
    "tests/contract/test_former_responder.py", "tests/contract/test_former_issuers.py",
    "tests/contract/test_guards_former.py",
)  # fmt: skip
_REMINDERS = (
    "tests/unit/ra/test_reminder_plan.py", "tests/unit/ra/test_reminder_planning.py",
    "tests/unit/app/test_reminder_settings.py", "tests/contract/test_reminders.py",
    "tests/contract/test_own_reminders.py", "tests/contract/test_guards_queue.py",
    "tests/contract/test_guards_living.py", "tests/contract/test_reminder_stories.py",
)  # fmt: skip
_TIME = (
    "tests/unit/va/test_service_times.py", "tests/unit/va/test_timestamp_remote.py",
    "tests/unit/pki/test_tsp.py", "tests/contract/test_anchors.py",
    "tests/contract/test_alarms.py",
)  # fmt: skip
_IDENTITY = (
    "tests/unit/identity", "tests/contract/test_guards_tickets.py", "tests/contract/test_sessions.py",
    "tests/contract/test_entries.py",
    "tests/contract/test_launch.py", "tests/contract/test_registry.py", "tests/contract/test_clients.py",
    "tests/contract/test_key_blocks.py", "tests/contract/test_old_contacts.py", "tests/contract/test_clock.py",
    "tests/web/test_known_browser.py", "tests/web/test_lost_answer.py", "tests/web/test_portal_signin.py",
    "tests/web/test_api_keys.py",
)  # fmt: skip
_TICKETS = (
    "tests/contract/test_guards_clients.py", "tests/contract/test_guards_tickets.py", "tests/contract/test_launch.py",
    "tests/contract/test_clients.py",
    "tests/contract/test_clock.py",
)  # fmt: skip
_MALFORMED = ("tests/property/pki/test_broken_fields.py",)
_AUDIT = (
    "tests/unit/audit", "tests/contract/test_audit_ledger.py", "tests/contract/test_audit_tampering.py",
    "tests/contract/test_anchors.py", "tests/contract/test_clock.py", "tests/property/audit",
)  # fmt: skip
_GATEWAYS = (
    "tests/contract/test_guards_deliveries.py", "tests/contract/test_bounces.py", "tests/contract/test_gateways.py",
    "tests/contract/test_sms_limits.py", "tests/contract/test_leases.py", "tests/contract/test_reminders.py",
    "tests/unit/messaging/test_failover.py",
)  # fmt: skip
_ALARMS = ("tests/contract/test_guards_alarms.py", "tests/contract/test_operators.py",
           "tests/contract/test_alarm_commands.py")  # fmt: skip
_IMPORTED = (
    "tests/contract/test_guards_imported.py", "tests/contract/test_imported.py",
    "tests/contract/test_certificate_import.py", "tests/contract/test_former_lists.py",
    "tests/contract/issuers/test_firm_revocation.py",
)  # fmt: skip

MODULES: dict[str, tuple[str, ...]] = {
    "stepup/challenge.py": ("tests/unit/stepup", "tests/property/stepup", *_CODES[1:]),
    "stepup/derive.py": _CODES,
    "stepup/verifier.py": _CODES,
    "store/repositories/stepup/challenges.py": ("tests/contract/test_guards_challenges.py", *_CODES),
    "store/repositories/stepup/failures.py": ("tests/contract/test_guards_failures.py",
                                              "tests/contract/test_guards_keys.py", *_CODES),
    "ra/blocking.py": ("tests/contract/test_key_blocks.py",),
    "ra/consent.py": _ORDERS,
    "ra/context.py": (*_ORDERS, *_CODES),
    "ra/enrolment.py": (*_ORDERS, *_REVOCATION),
    "ra/issuing.py": ("tests/contract/test_guards_asked.py", "tests/contract/test_guards_issuance.py", *_ORDERS,
                      *_ISSUANCE, "tests/contract/issuers/test_named_requests.py"),
    "ra/model.py": (*_ORDERS, "tests/property/ra"),
    "ra/policy.py": (*_ORDERS, "tests/property/ra"),
    "ra/possession.py": _ORDERS,
    "ra/program.py": ("tests/contract/test_program.py", "tests/contract/test_program_rules.py",
                      "tests/contract/test_program_credentials.py", "tests/web/test_est.py"),
    "ra/rekey.py": ("tests/contract/test_guards_keys.py", "tests/contract/test_guards_asked.py", *_ORDERS, *_CODES),
    "ra/replace.py": _ORDERS,
    "ra/revocation.py": ("tests/contract/test_guards_endings.py", "tests/contract/test_guards_orders.py",
                         "tests/contract/test_revocation.py", *_REVOCATION),
    "ra/stopping.py": ("tests/contract/test_stops.py", *_ORDERS),
    "ra/suspension.py": ("tests/contract/test_suspension.py", *_REVOCATION),
    "pki/proof.py": ("tests/unit/pki/test_proof.py", "tests/unit/pki/test_proof_vectors.py", *_MALFORMED,
                     "tests/contract/test_journey_keys.py", "tests/property/pki"),
    "pki/csr.py": ("tests/unit/pki/test_csr.py", *_MALFORMED, "tests/contract/test_journey_keys.py",
                   "tests/property/pki"),
    "pki/received.py": ("tests/unit/pki/test_received.py", "tests/unit/pki/test_est.py", *_MALFORMED, *_FOREIGN),
    "pki/cms.py": ("tests/unit/pki/test_proof.py", "tests/unit/pki/test_proof_vectors.py",
                   "tests/unit/pki/test_possession.py", "tests/unit/pki/test_tsp.py", *_MALFORMED,
                   "tests/property/pki"),
    "pki/crl_reading.py": ("tests/unit/pki/test_crl_reading.py", *_MALFORMED, "tests/contract/test_former_lists.py"),
    "pki/ocsp_reading.py": ("tests/unit/pki/test_ocsp_reading.py", "tests/unit/pki/test_ocsp_signers.py", *_MALFORMED,
                            "tests/contract/test_former_responder.py"),
    "pki/path.py": ("tests/unit/pki/test_path.py", "tests/unit/pki/test_received.py", *_MALFORMED,
                    "tests/contract/issuers/test_stored.py"),
    "pki/ocsp.py": ("tests/unit/pki/test_ocsp.py", *_MALFORMED, *_STATUS[1:]),
    "ca/embedded.py": _ISSUANCE,
    "ca/approval.py": ("tests/unit/ca/test_approval.py", "tests/unit/ca/test_guards_approval.py",
                       "tests/contract/test_distrust.py",
                       "tests/contract/test_issuance.py", "tests/contract/test_delay.py",
                       "tests/contract/test_both_codes.py"),
    "ca/external/issuer.py": ("tests/unit/ca/test_external_issuer.py", *_FOREIGN),
    "ca/external/cfssl.py": ("tests/unit/ca/test_external_answers.py", *_FOREIGN),
    "ca/external/cmp.py": ("tests/unit/ca/test_external_cmp.py", *_FOREIGN),
    "ca/external/est.py": ("tests/unit/ca/test_external_answers.py", "tests/unit/pki/test_est.py", *_FOREIGN),
    "ca/external/checker.py": ("tests/unit/ca/test_external_checker.py", "tests/contract/issuers/test_stored.py",),
    "ca/external/wire.py": ("tests/unit/ca/test_external_wire.py", *_FOREIGN),
    "ca/external/ports.py": ("tests/unit/ca/test_external_issuer.py", *_FOREIGN),
    "identity/entries.py": _IDENTITY,
    "identity/known.py": _IDENTITY,
    "identity/launching.py": (*_TICKETS, *_IDENTITY),
    "identity/password.py": _IDENTITY,
    "identity/people.py": _IDENTITY,
    "identity/scope.py": _IDENTITY,
    "identity/sealed.py": _IDENTITY,
    "identity/sessions.py": _IDENTITY,
    "audit/record.py": _AUDIT,
    "audit/tree.py": _AUDIT,
    "audit/verify.py": _AUDIT,
    "va/status_watcher.py": ("tests/unit/va/test_lookout.py", "tests/contract/test_lookout.py", *_STATUS),
    "va/overlay.py": ("tests/unit/va/test_overlay.py", "tests/contract/test_restored.py",
                      "tests/contract/test_restore_away.py"),
    "va/presigning.py": ("tests/unit/va/test_presigner.py", "tests/contract/test_presigning.py",
                         "tests/contract/test_lookout.py"),
    "va/publisher.py": ("tests/unit/va/test_service_times.py", "tests/contract/test_lists.py", *_STATUS),
    "va/renewal.py": ("tests/unit/va/test_service_times.py", "tests/contract/test_rollover.py",
                      "tests/contract/test_status.py", "tests/contract/test_presigning.py"),
    "va/responder.py": _STATUS,
    "va/alarms.py": ("tests/contract/test_alarms.py",),
    "va/service_revocation.py": ("tests/unit/va/test_service_revocation.py",
                                 "tests/contract/test_services.py", "tests/contract/test_guards_status.py",
                                 "tests/contract/test_lookout.py"),
    "va/stamping.py": _TIME,
    "va/timestamp.py": _TIME,
    "va/timestamp_key.py": _TIME,
    "va/timestamp_remote.py": _TIME,
    "va/former/fetch.py": _FORMER,
    "va/former/lists.py": _FORMER,
    "va/former/status.py": _FORMER,
    "ra/certificate_import/judging.py": _IMPORTS,
    "ra/certificate_import/reading.py": _IMPORTS,
    "ra/certificate_import/report.py": _IMPORTS,
    "ra/certificate_import/run.py": ("tests/unit/ra/test_certificate_run.py", *_IMPORTS),
    "ra/certificate_import/serials.py": _IMPORTS,
    "ra/certificate_import/subjects.py": _IMPORTS,
    "ra/certificate_import/tables.py": _IMPORTS,
    "ra/former_renewal.py": ("tests/unit/ra/test_former_doubt.py", *_IMPORTS[5:8]),
    "ra/expiries.py": ("tests/unit/ra/test_expiries.py", "tests/unit/cli/test_expiries_call.py",
                       "tests/contract/test_expiries.py"),
    "ra/reminders/own.py": ("tests/contract/test_own_reminders.py", *_REMINDERS),
    "ra/reminders/plan.py": _REMINDERS,
    "ra/reminders/planning.py": _REMINDERS,
    "ra/reminders/policy.py": _REMINDERS,
    "store/repositories/ra/orders.py": ("tests/contract/test_guards_order_rows.py", *_ORDERS[1:], *_CODES[1:]),
    "store/repositories/ra/binding.py": ("tests/contract/test_guards_order_rows.py", *_ORDERS[1:], *_CODES[1:]),
    "store/repositories/ra/fulfilment.py": ("tests/contract/test_guards_order_rows.py", *_ORDERS[1:], *_CODES[1:]),
    "store/repositories/ra/order_rows.py": (*_ORDERS[1:], *_CODES[1:]),
    "store/repositories/ra/successors.py": (
        "tests/contract/test_guards_endings.py", "tests/contract/test_guards_orders.py",
        "tests/contract/test_guards_asked.py",
                            "tests/contract/test_revocation.py", "tests/contract/test_barriers.py",
                            "tests/contract/test_key_blocks.py", *_ORDERS[1:]),
    "store/repositories/ra/revoking.py": _REVOCATION,
    "store/repositories/ra/stops.py": ("tests/contract/test_stops.py", *_ORDERS),
    "store/repositories/identity/customers.py": ("tests/contract/test_guards_sessions.py",
                                                 "tests/contract/test_clock.py", "tests/contract/test_sessions.py",
                                                 *_IDENTITY),
    "store/repositories/identity/launches.py": ("tests/contract/test_guards_launches.py", *_TICKETS, *_IDENTITY),
    "store/repositories/ca/certificates.py": (
        "tests/contract/test_guards_issuers.py",
        "tests/contract/test_guards_serials.py", "tests/contract/test_guards_status.py", *_ISSUANCE,
                    *_STATUS),
    "store/repositories/va/lists.py": ("tests/contract/test_list_marks.py", "tests/contract/test_guards_issuers.py",
                                       "tests/contract/test_guards_status.py", *_STATUS),
    "store/repositories/va/answers.py": ("tests/contract/test_guards_status.py", *_STATUS),
    "store/repositories/rate_limits.py": ("tests/contract/test_guards_counters.py",
                                          "tests/contract/test_guards_sessions.py",
                                          *_CODES[1:], *_IDENTITY[1:], *_REVOCATION),
    "store/repositories/messaging/outbox.py": ("tests/contract/test_guards_outbox.py",
                                               "tests/contract/test_delivery.py", *_CODES[1:]),
    "store/repositories/messaging/alarms.py": _ALARMS,
    "store/repositories/messaging/deliveries.py": _GATEWAYS,
    "store/repositories/messaging/spending.py": _GATEWAYS,
    "store/repositories/ra/certificate_import.py": _IMPORTED,
    "store/repositories/ra/expiries.py": ("tests/contract/test_guards_expiries.py", "tests/contract/test_expiries.py",
                                          "tests/unit/ra/test_expiries.py"),
    "store/repositories/ra/imported_certificates.py": _IMPORTED,
    "store/repositories/ra/subscriber_certificates.py": _IMPORTED,
    "store/repositories/reminders/living.py": ("tests/contract/test_guards_living.py", *_REMINDERS),
    "store/repositories/reminders/own.py": ("tests/contract/test_guards_living.py", *_REMINDERS),
    "store/repositories/reminders/plans.py": ("tests/contract/test_guards_living.py", *_REMINDERS),
    "store/repositories/reminders/queue.py": ("tests/contract/test_guards_queue.py", *_REMINDERS),
    "store/repositories/va/former.py": ("tests/contract/test_guards_former.py", *_FORMER),
    "jobs/alarms.py": ("tests/unit/messaging/test_alarms.py", *_ALARMS),
    "jobs/deliver.py": ("tests/contract/test_delivery.py", *_GATEWAYS),
    "jobs/remind.py": ("tests/unit/jobs/test_remind.py", "tests/contract/test_reminders.py", *_REMINDERS),
    "limits/blocks.py": ("tests/contract/test_sms_limits.py",),
    "limits/crowd.py": ("tests/unit/limits/test_crowd.py", "tests/contract/test_guards_clients.py"),
    "limits/places.py": ("tests/unit/limits/test_places.py",),
    "limits/rate_limits.py": ("tests/unit/limits/test_crowd.py", *_CODES[1:], *_IDENTITY[1:]),
    "messaging/alarms.py": ("tests/unit/messaging/test_alarms.py", *_ALARMS),
    "web/session.py": ("tests/web/test_portal_signin.py", "tests/web/test_headers.py", "tests/web/test_lost_answer.py",
                       "tests/web/test_known_browser.py", "tests/web/test_portal.py"),
    "keys/shares.py": ("tests/unit/keys/test_shares.py",),
}  # fmt: skip

GROUPS: dict[str, tuple[str, ...]] = {
    "codes": (
        "stepup/challenge.py", "stepup/derive.py", "stepup/verifier.py",
        "store/repositories/stepup/challenges.py", "store/repositories/stepup/failures.py",
    ),
    "issuance": (
        "ra/issuing.py", "ra/rekey.py", "pki/proof.py", "pki/csr.py", "ca/embedded.py", "ca/approval.py",
        "store/repositories/ca/certificates.py", "store/repositories/ra/orders.py", "store/repositories/ra/binding.py",
        "store/repositories/ra/fulfilment.py", "store/repositories/ra/successors.py",
    ),
    "tickets": (
        "identity/launching.py", "identity/sessions.py", "store/repositories/identity/launches.py", "web/session.py",
    ),
    "status": (
        "va/responder.py", "store/repositories/va/answers.py", "store/repositories/ra/revoking.py",
        "ra/revocation.py", "ra/suspension.py",
    ),
}  # fmt: skip
"""What has to reach nine of ten."""


def tests_of(module: str) -> tuple[str, ...]:
    """Return the files and folders with the tests of a module, each once, the nearest first."""
    return tuple(dict.fromkeys(MODULES[module]))
