"""The far end's program: what a key may do in a backup store is all that this text can do.

It runs as a forced command of sshd with the store's folder and `append` or `read`. Requests are lines of JSON on its
input, answers are lines of JSON on its output, contents follow their line as so many bytes.
"""

from __future__ import annotations

PROGRAM = r'''#!/usr/bin/python3 -I
"""Take backups in, and give them out: add, never overwrite, never remove. Kept by opsplay (module backup_store)."""
import hashlib, json, os, stat, sys, time

INCOMING = ".incoming"
PIECE = 1 << 20
MANIFEST = "manifest.json"
# What an upload that was cut off has left is removed after so many seconds.
STALE = 86400


class Refused(Exception):
    pass


def parts_of(path):
    parts = path.split("/")
    if not path or len(path) > 1000 or any(not part or part.startswith(".") or "\0" in part for part in parts):
        raise Refused("%r is no path of a backup" % path)
    return parts


def folder_of(root, parts, make):
    """A descriptor of the folder that holds a file; no link is followed on the way."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    for part in parts[:-1]:
        if make:
            try:
                os.mkdir(part, 0o700, dir_fd=at)
                os.fsync(at)
            except FileExistsError:
                pass
        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        os.close(at)
        at = below
    return at


def digest(fd):
    found = hashlib.sha256()
    while True:
        piece = os.read(fd, PIECE)
        if not piece:
            return found.hexdigest()
        found.update(piece)


def put(root, ask):
    """Take a file in. It bears its name when all of it has come, its hash is right and it is on the disk."""
    parts, size = parts_of(ask["path"]), int(ask["size"])
    waiting = os.path.join(root, INCOMING)
    os.makedirs(waiting, 0o700, exist_ok=True)
    for name in os.listdir(waiting):
        if time.time() - os.lstat(os.path.join(waiting, name)).st_mtime > STALE:
            os.unlink(os.path.join(waiting, name))
    beside = os.path.join(waiting, "%d-%s" % (os.getpid(), os.urandom(8).hex()))
    found, left = hashlib.sha256(), size
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    try:
        problem = None
        while left:
            piece = sys.stdin.buffer.read(min(PIECE, left))
            if not piece:
                raise Refused("the upload was cut off")
            left -= len(piece)
            found.update(piece)
            if problem is None:
                try:
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(fd, view):]
                except OSError as failure:
                    problem = failure
        if problem is not None:
            raise Refused("cannot be kept: %s" % problem.strerror)
        if found.hexdigest() != ask["sha256"]:
            raise Refused("what came has another sha256")
        os.fsync(fd)
        return {"ok": True, "new": name_it(root, beside, parts, ask["sha256"])}
    finally:
        os.close(fd)
        os.unlink(beside)


def name_it(root, beside, parts, sha256):
    at = folder_of(root, parts, True)
    try:
        os.link(beside, parts[-1], dst_dir_fd=at, follow_symlinks=False)
        os.fsync(at)
        return True
    except FileExistsError:
        fd = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at)
        try:
            if digest(fd) != sha256:
                raise Refused("it is there with another content, and is not overwritten")
        finally:
            os.close(fd)
        return False
    finally:
        os.close(at)


def opened(root, path):
    parts = parts_of(path)
    at = folder_of(root, parts, False)
    try:
        fd = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refused("%s is no file" % path)
    return fd


def hashed(root, ask):
    """Size and hash of a file, read from the disk."""
    fd = opened(root, ask["path"])
    try:
        return {"ok": True, "size": os.fstat(fd).st_size, "sha256": digest(fd)}
    finally:
        os.close(fd)


def sets(root, ask):
    """The manifests of the backups of one name, oldest first."""
    found = []
    top = os.path.join(root, *parts_of(ask["name"]))
    for stamp in sorted(os.listdir(top)) if os.path.isdir(top) else []:
        try:
            with open(os.path.join(top, stamp, MANIFEST), encoding="utf-8") as file:
                found.append({"stamp": stamp, "manifest": json.load(file)})
        except (OSError, ValueError):
            continue
    return {"ok": True, "sets": found, "now": time.time()}


def get(root, ask):
    fd = opened(root, ask["path"])
    try:
        size = os.fstat(fd).st_size
        say({"ok": True, "size": size})
        while size:
            piece = os.read(fd, min(PIECE, size))
            if not piece:
                raise SystemExit(1)
            sys.stdout.buffer.write(piece)
            size -= len(piece)
    finally:
        os.close(fd)


def say(answer):
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def main(root, may):
    os.umask(0o077)
    known = {"sets": sets, "hash": hashed}
    known.update({"put": put} if may == "append" else {"get": get})
    for line in sys.stdin.buffer:
        ask = json.loads(line.decode())
        serve = known.get(ask.get("do"))
        try:
            if serve is None:
                raise Refused("this key may not %s" % ask.get("do"))
            answer = serve(root, ask)
        except FileNotFoundError:
            answer = {"error": "%s is not there" % ask.get("path")}
        except (Refused, OSError, KeyError, TypeError) as problem:
            answer = {"error": getattr(problem, "strerror", None) or str(problem)}
        if answer is not None:
            say(answer)
            if "error" in answer and ask.get("do") == "put":
                # What follows may be the rest of the refused content.
                break
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
'''
