"""Who gets the events: the port and the broker."""

from __future__ import annotations

import json
import socket
import urllib.request
from http.client import HTTPException

from monitor.assembly import host_name
from monitor.commands import CommandDesk
from monitor.doctor.finding import Finding, Status, problem
from monitor.errors import PublishError, UsageError
from monitor.publish.guard import Guard, is_loopback, tls_context
from monitor.publish.journal import Journal
from monitor.publish.mqtt import MqttPublisher
from monitor.publish.websocket import WebSocketSettings
from monitor.settings import MonitorSettings


def port(settings: MonitorSettings) -> Finding:
    """Whether the address of the page and the WebSocket can be listened on, with its token and certificate."""
    chosen = settings.websocket
    if not chosen.enabled:
        return Finding("port", Status.NOTE, "No dashboard and no WebSocket: --no-ws.")
    try:
        Guard.of(chosen.host, chosen.token_file, chosen.allow_origins, chosen.allow_hosts)
        tls_context(chosen.tls_certificate, chosen.tls_key)
    except UsageError as error:
        return problem(
            "port",
            error,
            "Mend what it names. Without --ws-host, --ws-token-file and a certificate, this machine alone is served.",
        )
    return _listened_on(chosen)


def _listened_on(chosen: WebSocketSettings) -> Finding:
    where = f"{chosen.host}:{chosen.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            chosen.host, chosen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except (OSError, UnicodeError) as error:
        mine = _monitor_answers(chosen.host, chosen.port)
        return Finding(
            "port",
            Status.PROBLEM,
            f"{where} cannot be listened on ({getattr(error, 'strerror', error)})"
            + (": a monitor serves there already." if mine else "."),
            "Stop the other monitor, or choose another port."
            if mine
            else "Choose another with --ws-host, or with --ws-port, where 0 is a free one.",
            PublishError.exit_code,
            {"host": chosen.host, "port": chosen.port, "monitor_runs": mine},
        )
    reach = "this machine only" if is_loopback(chosen.host) else "the network"
    return Finding(
        "port",
        Status.OK,
        f"{where} is free; it will be reached from {reach}.",
        figures={"host": chosen.host, "port": chosen.port},
    )


def _monitor_answers(host: str, port: int) -> bool:
    """Whether what holds the port is a monitor."""
    name = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{name}:{port}/healthz", timeout=2) as answer:  # nosec B310
            return bool(json.loads(answer.read(1_000)).get("status") == "alive")
    except (OSError, HTTPException, ValueError, AttributeError):
        return False


async def broker(settings: MonitorSettings) -> Finding:
    """Whether the MQTT broker takes the monitor in."""
    if settings.mqtt.url is None:
        return Finding("broker", Status.NOTE, "None: events go to no MQTT broker.")
    node = settings.node or host_name()
    try:
        journal = Journal(None, node, settings.journal)
        await MqttPublisher(settings.mqtt, node, (), journal, CommandDesk()).check()
    except UsageError as error:
        return problem("broker", error, "Correct this setting: the monitor does not start with it.")
    except PublishError as error:
        return problem(
            "broker",
            error,
            "Check the address, name and password in --mqtt-url, that the broker runs, and that a "
            "firewall lets its port through. The monitor itself would keep trying.",
        )
    return Finding("broker", Status.OK, "It takes the monitor in.")
