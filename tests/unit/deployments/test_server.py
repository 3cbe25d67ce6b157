"""The server's garbage: what a thread collects holds up no event loop that waits for SQLite."""

import subprocess
import sys

import pytest

from tests.project import ROOT

# As it happens in Prefect's server: a statement was refused since its transaction was overtaken, its
# connection is used again and waits for the lock, and garbage is collected before the holder goes on.
SERVER = """
import asyncio, sys

import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from hedonic.deployments.server import collect_aside

if sys.argv[2] == "aside":
    collect_aside(every_s=0.05, all_every=2)


def connected(path):
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=1, max_overflow=0)

    @sqlalchemy.event.listens_for(engine.sync_engine, "connect")
    def set_up(connection, record):
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA busy_timeout = {sys.argv[3]}")
        cursor.close()

    return engine


async def do(connection, *statements):
    for statement in statements:
        await connection.exec_driver_sql(statement)


async def refused(engine, other):
    async with engine.connect() as one, other.connect() as two:
        await do(one, "BEGIN", "SELECT * FROM t")
        await do(two, "INSERT INTO t VALUES (1)")
        try:
            await do(one, "INSERT INTO t VALUES (2)")
        except sqlalchemy.exc.OperationalError as err:
            err.itself = err  # only the collector frees it, and its traceback
            await do(one, "ROLLBACK")
            return err


async def wait_for_the_lock(engine):
    async with engine.connect() as one:
        try:
            await do(one, "BEGIN IMMEDIATE", "ROLLBACK")
        except sqlalchemy.exc.OperationalError:
            return "blocked"
    return "went on"


async def main():
    engine, other = connected(sys.argv[1]), connected(sys.argv[1])
    async with other.connect() as holder:
        await do(holder, "CREATE TABLE t (n)")
    error = await refused(engine, other)
    async with other.connect() as holder:
        await do(holder, "BEGIN IMMEDIATE", "INSERT INTO t VALUES (3)")
        waiting = asyncio.create_task(wait_for_the_lock(engine))
        await asyncio.sleep(2)
        del error
        work = [[] for _ in range(1_000_000)]
        await asyncio.sleep(0.5)
        await do(holder, "COMMIT")
        print(await waiting)
    await engine.dispose()
    await other.dispose()


asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "limit_ms", "became"), [("as python does", 8_000, "blocked"), ("aside", 60_000, "went on")]
)
def test_a_loop_that_waits_for_sqlite_goes_on_while_garbage_is_collected(tmp_path, how, limit_ms, became):
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(tmp_path / "server.db"), how, str(limit_ms)],
        env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{became}\n"), done.stderr
