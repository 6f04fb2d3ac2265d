"""Ask PostgreSQL, before anything is done, which schema it has and whether our role may use and change the tables."""

from typing import Any

from chopmark.store.engine.port import Unfit
from chopmark.store.engine.postgres_route import Route, assert_own_sessions

_WHERE = """SELECT current_user AS role, current_database() AS database, COALESCE(current_schema(), 'public') AS schema,
  COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
  CAST(to_regclass('alembic_version') AS TEXT) AS revisions"""
_CLOSED = """SELECT c.relname FROM pg_class c
  JOIN pg_class v ON v.oid = to_regclass('alembic_version') AND v.relnamespace = c.relnamespace
    AND v.relowner = c.relowner
  WHERE (c.relkind IN ('r', 'p') AND NOT has_table_privilege(c.oid, 'SELECT'))
    OR (c.relkind IN ('r', 'p') AND c.oid <> v.oid
      AND NOT (has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')))
    OR CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE') ELSE false END
  ORDER BY c.relname LIMIT 1"""
_OWNER = """SELECT pg_get_userbyid(relowner) AS owner, pg_has_role(relowner, 'USAGE') AS ours FROM pg_class
  WHERE oid = to_regclass('alembic_version')"""
_REVISION = "SELECT version_num FROM alembic_version"


async def schema_of(route: Route) -> str | None:
    """Return the revision of the database's schema, or None if it has none. Nothing is changed.

    Raises:
        Unfit: a pooler shares sessions between clients, or our role may not use the tables.
    """
    async with route.asking() as connection:
        await assert_own_sessions(route, connection)
        where = await connection.fetchrow(_WHERE)
        if where["revisions"] is None:
            return None
        await _assert_usable(connection, where)
        found = await connection.fetchval(_REVISION)
        return None if found is None else str(found)


async def _assert_usable(connection: Any, where: Any) -> None:
    closed = await connection.fetchval(_CLOSED)
    if closed is not None:
        schema, role = _quoted(where["schema"]), _quoted(where["role"])
        raise Unfit(
            f"PostgreSQL's role {where['role']} may not read and write {closed} in database {where['database']}; as "
            f"its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; "
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        )


async def assert_may_migrate(route: Route) -> None:
    """Check that our role may create tables and change existing ones. Since PostgreSQL 15 this right has to be granted.

    Raises:
        Unfit: it may not.
    """
    async with route.asking() as connection:
        where, table = await connection.fetchrow(_WHERE), await connection.fetchrow(_OWNER)
    role, database, schema = where["role"], where["database"], where["schema"]
    if not where["may_create"]:
        raise Unfit(
            f"PostgreSQL's role {role} may not make tables in schema {schema} of database {database}; as the "
            f"database's owner: GRANT USAGE, CREATE ON SCHEMA {_quoted(schema)} TO {_quoted(role)}; or make the role "
            f"the owner: ALTER DATABASE {_quoted(database)} OWNER TO {_quoted(role)}"
        )
    if table is not None and not table["ours"]:
        raise Unfit(
            f"PostgreSQL's role {role} may not change the tables in database {database}: they are {table['owner']}'s; "
            f"run `chopmark db upgrade` as {table['owner']}, or GRANT {_quoted(table['owner'])} TO {_quoted(role)}"
        )


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
