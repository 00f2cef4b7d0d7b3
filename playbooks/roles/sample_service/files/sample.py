#!/usr/bin/python3
"""A small real service to practise operations on: a web API, a worker and a clock, on PostgreSQL and Redis.

    sample.py web | worker | beat

Settings come from the environment (/etc/sample/sample.env). Reports are posted to the API, queued in Redis, processed
by the worker, and counted; the clock makes one every time it ticks. A lock in the database keeps two of a kind apart.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import socket
import sys
import time

import psycopg2
import psycopg2.extras

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (name text PRIMARY KEY, salt text NOT NULL, hash text NOT NULL);
CREATE TABLE IF NOT EXISTS reports (
    id bigserial PRIMARY KEY, source text NOT NULL, body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), processed_at timestamptz);
CREATE TABLE IF NOT EXISTS totals (source text PRIMARY KEY, reports bigint NOT NULL);
"""
TOKEN_SECONDS = 3600
BEAT_KEY, WORK_KEY, QUEUE = "sample:beat", "sample:worker", "sample:queue"


class Redis:
    """The few commands that the service needs; an error reply is an error."""

    def __init__(self):
        self._socket = socket.create_connection(("127.0.0.1", int(os.environ.get("REDIS_PORT", "6379"))), 10)
        self._file = self._socket.makefile("rb")
        if os.environ.get("REDIS_PASSWORD"):
            self("AUTH", os.environ["REDIS_PASSWORD"])

    def __call__(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in parts))
        return self._reply()

    def _reply(self):
        line = self._file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"-" or not kind:
            raise RuntimeError("Redis: %s" % (rest.decode() or "the connection ended"))
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest.decode()


def database():
    return psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=5, application_name="sample-" + sys.argv[1])


def sign(text):
    return hmac.new(os.environ["SECRET_KEY"].encode(), text.encode(), hashlib.sha256).hexdigest()


def hashed(password, salt):
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 50000).hex()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        known = {"/health": self.health, "/metrics": self.metrics, "/api/reports": self.reports, "/": self.home}
        self.answer_with(known.get(self.path))

    def do_POST(self):
        self.answer_with({"/api/login": self.login, "/api/reports": self.add}.get(self.path))

    def answer_with(self, action):
        try:
            status, body = action() if action else (404, {"error": "there is nothing here"})
        except Exception as problem:
            status, body = 503, {"error": str(problem).strip()}
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def home(self):
        return 200, "<!doctype html><title>Sample</title><h1>Sample service</h1>"

    def health(self):
        found = {"status": "healthy", "timestamp": time.time(), "release": os.environ.get("RELEASE", "")}
        try:
            with database() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery()")
                found["database"] = "standby" if cursor.fetchone()[0] else "ok"
            redis = Redis()
            found["redis"] = "ok" if redis("PING") == "PONG" else "no answer"
            found["worker"] = "ok" if redis("GET", WORK_KEY) else "silent"
            found["beat"] = "ok" if redis("GET", BEAT_KEY) else "silent"
        except Exception as problem:
            found["error"] = str(problem).strip()
        if any(found.get(name) != "ok" for name in ("database", "redis", "worker", "beat")):
            found["status"] = "degraded"
        return 200 if found["status"] == "healthy" else 503, found

    def metrics(self):
        with database() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*), count(processed_at) FROM reports")
            total, done = cursor.fetchone()
        return 200, "sample_reports_total %d\nsample_reports_processed_total %d\n" % (total, done)

    def login(self):
        ask = self.body()
        with database() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT salt, hash FROM users WHERE name = %s", (ask.get("user"),))
            row = cursor.fetchone()
        if not row or not hmac.compare_digest(hashed(str(ask.get("password")), row[0]), row[1]):
            return 401, {"error": "wrong user or password"}
        text = base64.urlsafe_b64encode(("%s %d" % (ask["user"], time.time() + TOKEN_SECONDS)).encode()).decode()
        return 200, {"token": text + "." + sign(text)}

    def user(self):
        text, _, signature = self.headers.get("Authorization", "").replace("Bearer ", "", 1).partition(".")
        if not hmac.compare_digest(sign(text), signature):
            return None
        name, _, until = base64.urlsafe_b64decode(text).decode().rpartition(" ")
        return name if float(until) > time.time() else None

    def reports(self):
        if not self.user():
            return 401, {"error": "log in first"}
        with database() as connection, connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute("SELECT id, source, body, processed_at::text FROM reports ORDER BY id DESC LIMIT 20")
            return 200, {"reports": [dict(row) for row in cursor.fetchall()]}

    def add(self):
        if not self.user():
            return 401, {"error": "log in first"}
        ask = self.body()
        return 201, {"id": queue_report(str(ask["source"]), str(ask["body"]))}

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def log_message(self, text, *words):
        sys.stderr.write("%s %s\n" % (self.address_string(), text % words))


def queue_report(source, body):
    with database() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO reports (source, body) VALUES (%s, %s) RETURNING id", (source, body))
        number = cursor.fetchone()[0]
    Redis()("LPUSH", QUEUE, number)
    return number


def web():
    with database() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(727)")
        cursor.execute(SCHEMA)
        salt = os.urandom(8).hex()
        cursor.execute(
            "INSERT INTO users VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            ("admin", salt, hashed(os.environ["ADMIN_PASSWORD"], salt)),
        )
    address = ("127.0.0.1", int(os.environ.get("PORT", "8000")))
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()


def worker():
    redis = Redis()
    with open(os.path.join(os.environ["DATA"], "worker.log"), "a") as log:
        while True:
            redis("SET", WORK_KEY, int(time.time()), "EX", 15)
            found = redis("BRPOP", QUEUE, 2)
            if found:
                process(int(found[1]))
                log.write("%d\n" % int(found[1]))
                log.flush()


def process(number):
    with database() as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE reports SET processed_at = now() WHERE id = %s AND processed_at IS NULL RETURNING source", (number,))
        row = cursor.fetchone()
        if row:
            upsert = "INSERT INTO totals VALUES (%s, 1) ON CONFLICT (source) DO UPDATE SET reports = totals.reports + 1"
            cursor.execute(upsert, row)


def beat():
    while True:
        queue_report("beat", "tick at %d" % time.time())
        Redis()("SET", BEAT_KEY, int(time.time()), "EX", 30)
        time.sleep(float(os.environ.get("BEAT_SECONDS", "2")))


if __name__ == "__main__":
    {"web": web, "worker": worker, "beat": beat}[sys.argv[1]]()
