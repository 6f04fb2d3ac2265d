"""Messages and other work to do, which gateway got which message, and the demo's inbox."""

from sqlalchemy import Index, Table

from chopmark.store.schema.columns import integer, key, metadata, of_customer, partial, words

work = Table(
    "work",
    metadata,
    key("id"),
    words("kind"),
    of_customer(null=True),
    words("order_id", null=True),
    words("challenge", null=True),
    words("channel", null=True),
    integer("contact_version", null=True),
    words("facts"),
    integer("attempts"),
    integer("not_before"),
    integer("expires_at", null=True),
    words("holder", null=True),
    integer("leased_until"),
    integer("done_at", null=True),
    words("outcome", null=True),
    partial("work_done", "done_at", where="done_at IS NOT NULL"),
    partial("work_waiting", "not_before", where="done_at IS NULL"),
)
# Written before a message is handed to a gateway. No number, no text and no code stands here.
deliveries = Table(
    "deliveries",
    metadata,
    key("message"),
    key("gateway"),
    words("fate"),
    integer("tries"),
    integer("begun_at"),
    integer("ended_at", null=True),
    words("provider_id", null=True),
    words("reason", null=True),
    words("detail", null=True),
    words("report", null=True),
    words("report_detail", null=True),
    integer("reported_at", null=True),
    integer("asked_at", null=True),
    Index("deliveries_by_provider", "gateway", "provider_id"),
    Index("deliveries_by_age", "begun_at"),
    partial("deliveries_unreported", "begun_at", where="fate = 'taken' AND report IS NULL"),
    partial("deliveries_reported", "reported_at", where="report IS NOT NULL"),
)
# Final reports of messages that no row of `deliveries` has as taken yet: their gateway was quicker than we.
early_reports = Table(
    "early_reports",
    metadata,
    key("gateway"),
    key("provider_id"),
    words("state"),
    words("detail"),
    integer("at"),
    Index("early_reports_by_age", "at"),
)
# What operators are told of, by what it is about; `messaging/alarms.py` says when. No personal data stands here.
alarms = Table(
    "alarms",
    metadata,
    key("subject"),
    key("kind"),
    words("facts"),
    integer("grade"),
    integer("since"),
    integer("seen_at"),
    integer("due_at", null=True),
    integer("said_at", null=True),
    integer("said_grade", null=True),
    integer("well_at", null=True),
    integer("over_at", null=True),
    integer("leased_until"),
    partial("alarms_over", "over_at", where="over_at IS NOT NULL"),
)
inbox = Table(
    "inbox",
    metadata,
    key("id"),
    words("channel"),
    of_customer(),
    words("challenge", null=True),
    words("facts"),
    integer("at"),
    Index("inbox_by_time", "at"),
)
