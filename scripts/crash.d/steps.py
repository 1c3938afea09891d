"""Runs a command and counts the calls by which it changes something on disk; kills it before one of them.

The kernel stops the command before each such call (a seccomp filter with a listener) and asks us.
Needs Linux 5.5 or later on x86_64 or aarch64; no root.
"""
import array
import ctypes
import fcntl
import os
import platform
import select
import socket
import struct
import subprocess

# name: number on x86_64 and aarch64; None where there is no such call
CALLS = {
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37),
    "unlink": (87, None), "unlinkat": (263, 35), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "ftruncate": (77, 46), "fsync": (74, 82), "fdatasync": (75, 83), "sync_file_range": (277, 84), "syncfs": (306, 267),
    "pwrite64": (18, 68),
}
COLUMN, SECCOMP = {"x86_64": (0, 317), "aarch64": (1, 277)}[platform.machine()]
NUMBERS = {numbers[COLUMN]: name for name, numbers in CALLS.items() if numbers[COLUMN] is not None}
SET_NO_NEW_PRIVS, SET_MODE_FILTER, NEW_LISTENER = 38, 1, 8
ALLOW, ASK = 0x7FFF0000, 0x7FC00000
RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]


def install(channel):
    """In the child, before it becomes the command: asks for its calls to be stopped, and sends the listener."""
    libc = ctypes.CDLL(None, use_errno=True)
    load, equal, answer = 0x20, 0x15, 0x06
    steps = [struct.pack("HBBI", load, 0, 0, 0)]
    for place, number in enumerate(NUMBERS):
        steps.append(struct.pack("HBBI", equal, len(NUMBERS) - place, 0, number))
    steps += [struct.pack("HBBI", answer, 0, 0, ALLOW), struct.pack("HBBI", answer, 0, 0, ASK)]
    program = ctypes.create_string_buffer(b"".join(steps))
    wanted = Filter(len(steps), ctypes.addressof(program))
    libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, ctypes.byref(wanted))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    channel.sendmsg([b"l"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])


def run(words, environment, last=None):
    """Runs a command and kills it before call number `last` (from 1). Returns its status, the number of
    calls that it began, and the name of the last one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, preexec_fn=lambda: install(theirs))
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    (listener,) = array.array("i", ancillary[0][2])
    count, name = 0, None
    try:
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        while not poller.poll()[0][1] & select.POLLHUP:
            asked = bytearray(80)
            try:
                fcntl.ioctl(listener, RECEIVE, asked)
            except (FileNotFoundError, InterruptedError):
                continue  # the caller has gone
            number, caller, _, call = struct.unpack_from("QIIi", asked)
            count, name = count + 1, NUMBERS[call]
            if count == last:
                process.kill()
                break
            try:
                fcntl.ioctl(listener, SEND, bytearray(struct.pack("QqiI", number, 0, 0, CONTINUE)))
            except FileNotFoundError:
                pass
    finally:
        os.close(listener)
    return process.wait(), count, name
