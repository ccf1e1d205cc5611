"""The AsyncAPI 3 document of the monitor, from the kinds of events and their schemas.

``asyncapi.json`` beside this file is what is served; ``python -m monitor.publish.asyncapi json`` writes it anew, and
``markdown`` writes ``docs/asyncapi.md``. A test holds both to the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from monitor.publish import asyncapi_audio
from monitor.publish.wire import KINDS, ON_REQUEST, PREFIX

_SCHEMAS: Final = Path(__file__).parent / "schemas"

WITHOUT_SEQUENCE: Final = ("stream.gap", "emotion.provisional", *ON_REQUEST)
"""Said to one subscriber only, over WebSocket or MQTT; said in passing, and never again."""

KEPT: Final = tuple(kind for kind in KINDS if kind != "emotion.provisional")
"""What waits for a broker that is away, and goes over MQTT. What is said in passing does not."""

COMMANDS: Final[dict[str, dict[str, Any]]] = {
    "mute": {},
    "unmute": {},
    "mark": {"text": {"type": "string", "minLength": 1, "maxLength": 200}},
    "reset": {},
}
"""What may be said to the monitor, with the fields of each beside ``type``."""

_STREAM: Final = {"stream": {"type": "string", "description": "Which; all where it is left out."}}
_AUDIO_IN: Final = (*asyncapi_audio.ASKED, "command.auth")

Json = dict[str, Any]


def build() -> Json:
    """The whole document."""
    schemas: Json = {"envelope": _envelope()}
    messages: Json = {}
    for kind in (*KINDS, *ON_REQUEST):
        messages[kind] = _event(kind, schemas)
    for name, fields in {**COMMANDS, "auth": {"token": {"type": "string"}}}.items():
        messages[f"command.{name}"] = _command(name, fields)
    messages["error"] = _error()
    messages |= asyncapi_audio.messages()
    messages["muted"] = {
        "title": "Whether a command has muted the stream",
        "contentType": "text/plain",
        "payload": {"type": "string", "enum": ["ON", "OFF"]},
    }
    messages["availability"] = {
        "title": "Whether the monitor is there",
        "contentType": "text/plain",
        "payload": {"type": "string", "enum": ["online", "offline"]},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "STSER Monitor",
            "version": "1.0.0",
            "description": "Emotion of each utterance, as it is heard. Every event is a CloudEvents 1.0 event in "
            "structured JSON; the same bytes go to WebSocket and MQTT 5. A v1 event may gain fields; none goes "
            "away or changes its meaning.",
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": _servers(),
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _servers() -> Json:
    return {
        "monitor": {
            "host": "127.0.0.1:8765",
            "protocol": "ws",
            "description": "A token is needed where the port is open to other machines.",
            "security": [{"$ref": "#/components/securitySchemes/token"}],
        },
        "broker": {
            "host": "127.0.0.1:1883",
            "protocol": "mqtt",
            "protocolVersion": "5",
            "description": "The broker that --mqtt-url names.",
        },
    }


def _channels() -> Json:
    names = {
        "node": {"description": "Name of the machine: letters, digits, '_' and '-'."},
        "stream": {"description": "Name of the audio stream, likewise.", "default": "mic"},
    }
    node = {"node": names["node"]}
    events, commands = [*KINDS, *ON_REQUEST], [f"command.{name}" for name in COMMANDS]
    return {
        "events": {
            "address": "/events",
            "title": "Events over WebSocket",
            "description": "On connect the current emotion.state, then what was missed since the given sequence, then "
            "what happens. One text frame an event.",
            "servers": [{"$ref": "#/servers/monitor"}],
            "messages": _references([*events, *commands, "command.auth", "error"]),
            "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
        },
        "audio": asyncapi_audio.channel()
        | {"messages": _references([*_AUDIO_IN, *asyncapi_audio.ANSWERED, *KINDS])},
        "mqttEvents": {
            "address": "stser/{node}/{stream}/event/{kind}",
            "title": "Every event over MQTT, in order",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": names | {"kind": {"enum": list(KEPT)}},
            "messages": _references(KEPT),
        },
        "mqttState": {
            "address": "stser/{node}/{stream}/state",
            "title": "The newest emotion.state",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": names,
            "messages": _references(["emotion.state"]),
        },
        "mqttMuted": {
            "address": "stser/{node}/{stream}/muted",
            "title": "Whether a command has muted the stream",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": names,
            "messages": _references(["muted"]),
        },
        "mqttAvailability": {
            "address": "stser/{node}/availability",
            "title": "Whether the monitor is there; also its will",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": node,
            "messages": _references(["availability"]),
        },
        "mqttCommands": {
            "address": "stser/{node}/cmd",
            "title": "Commands over MQTT",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": node,
            "messages": _references(commands),
        },
    }


def _query() -> Json:
    return {
        "type": "object",
        "properties": {
            "types": {
                "type": "string",
                "description": "Kinds that are wanted, with commas between; all where it is left out.",
            },
            "since": {
                "type": "string",
                "pattern": "^([a-zA-Z0-9_-]+:)?[0-9]{1,20}(,([a-zA-Z0-9_-]+:)?[0-9]{1,20})*$",
                "description": "Sequence of the last event that the client had, after STREAM: where it is not "
                "the first stream's; with commas between those of several streams. Others go on after the latest of "
                "these.",
            },
            "stream": {
                "type": "string",
                "description": "Names of the streams that are wanted, with commas between; all where it is left out.",
            },
            "transcript": {
                "type": "string",
                "enum": ["0", "1"],
                "description": "0 leaves out the words.",
            },
        },
    }


def _operations() -> Json:
    commands = [f"command.{name}" for name in COMMANDS]
    retained = {"mqtt": {"qos": 1, "retain": True, "bindingVersion": "0.2.0"}}
    return {
        "sendEvents": _operation("send", "events", (*KINDS, *ON_REQUEST)),
        "receiveCommands": _operation("receive", "events", [*commands, "command.auth"])
        | {"reply": {"channel": _channel("events"), "messages": _at("events", ["error"])}},
        "hearAudio": _operation("receive", "audio", _AUDIO_IN)
        | {
            "reply": {
                "channel": _channel("audio"),
                "messages": _at("audio", asyncapi_audio.ANSWERED),
            }
        },
        "sendStreamEvents": _operation("send", "audio", KINDS),
        "publishEvents": _operation("send", "mqttEvents", KEPT)
        | {
            "bindings": {
                "mqtt": {
                    "qos": 1,
                    "retain": False,
                    "messageExpiryInterval": 3600,
                    "bindingVersion": "0.2.0",
                }
            }
        },
        "publishState": _operation("send", "mqttState", ["emotion.state"]) | {"bindings": retained},
        "publishMuted": _operation("send", "mqttMuted", ["muted"]) | {"bindings": retained},
        "publishAvailability": _operation("send", "mqttAvailability", ["availability"])
        | {"bindings": retained},
        "takeCommands": _operation("receive", "mqttCommands", commands),
    }


def _operation(action: str, channel: str, messages: Iterable[str]) -> Json:
    return {"action": action, "channel": _channel(channel), "messages": _at(channel, messages)}


def _channel(name: str) -> Json:
    return {"$ref": f"#/channels/{name}"}


def _at(channel: str, messages: Iterable[str]) -> list[Json]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages]


def _references(messages: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}


# --- messages ----------------------------------------------------------------------------------


def _event(kind: str, schemas: Json) -> Json:
    """The message of a kind; what its schema defines goes among the schemas."""
    data = json.loads((_SCHEMAS / f"{kind}.v1.json").read_text("utf-8"))
    about = data.pop("description")
    for key in ("$schema", "title"):
        data.pop(key)
    for name, definition in data.pop("$defs", {}).items():
        if schemas.setdefault(name, definition) != definition:
            raise ValueError(f"two schemas define {name} differently.")
    schemas[kind] = _moved(data)
    required = ["data"] if kind in WITHOUT_SEQUENCE else ["data", "sequence"]
    return {
        "name": f"{PREFIX}{kind}.v1",
        "title": about,
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/envelope"},
                {
                    "type": "object",
                    "required": required,
                    "properties": {
                        "type": {"const": f"{PREFIX}{kind}.v1"},
                        "dataschema": {"const": f"/schemas/{kind}.v1.json"},
                        "data": {"$ref": f"#/components/schemas/{kind}"},
                    },
                },
            ]
        },
    }


def _moved(tree: Any) -> Any:
    """A schema whose definitions are among the document's schemas."""
    if isinstance(tree, list):
        return [_moved(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value)
        for key, value in tree.items()
    }


def _envelope() -> Json:
    return {
        "title": "CloudEvents 1.0",
        "type": "object",
        "required": [
            "specversion",
            "id",
            "source",
            "type",
            "time",
            "datacontenttype",
            "dataschema",
        ],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "pattern": "^/stser/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+$"},
            "type": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "sequence": {"type": "string", "pattern": "^[0-9]{20}$"},
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"type": "string"},
        },
    }


def _command(name: str, fields: Json) -> Json:
    return {
        "name": name,
        "title": f"Command {name}" if name != "auth" else "The token, for clients without headers",
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "required": ["type", *fields],
            "properties": {
                "type": {"const": name},
                **fields,
                **(_STREAM if name in COMMANDS else {}),
            },
        },
    }


def _error() -> Json:
    fields = {
        "type": {"const": "error"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "retryable": {"type": "boolean"},
    }
    return {
        "name": "error",
        "title": "A message that was not understood; the connection stays",
        "contentType": "application/json",
        "payload": {"type": "object", "required": list(fields), "properties": fields},
    }


# --- as text -----------------------------------------------------------------------------------


def as_json(document: Json) -> str:
    """The document as it is kept and served."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def as_markdown(document: Json) -> str:
    """The document for people."""
    info, components = document["info"], document["components"]
    lines = [
        "# AsyncAPI",
        "",
        f"{info['description']}",
        "",
        "The monitor serves the whole document at `/asyncapi.json`; this page is written from it.",
        "",
        "| channel | on | what |",
        "|---|---|---|",
    ]
    for channel in document["channels"].values():
        server = channel["servers"][0]["$ref"].rpartition("/")[2]
        lines.append(
            f"| `{channel['address']}` | {document['servers'][server]['protocol']} | {channel['title']} |"
        )
    lines += ["", "| operation | of the monitor | channel | messages |", "|---|---|---|---|"]
    for name, operation in document["operations"].items():
        channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        said = ", ".join(message["$ref"].rpartition("/")[2] for message in operation["messages"])
        lines.append(f"| {name} | {operation['action']}s | `{channel['address']}` | {said} |")
    for name, message in components["messages"].items():
        lines += ["", f"## {name}", "", f"{message['title'].rstrip('.')}.", ""]
        schema = components["schemas"].get(name, message["payload"])
        if "properties" in schema:
            lines += ["| field | type |", "|---|---|"]
            lines += [
                f"| `{field}` | {_type(rule)} |" for field, rule in schema["properties"].items()
            ]
        else:
            lines.append(f"One of {_type(schema)}." if "enum" in schema else "Bytes.")
    return "\n".join(lines) + "\n"


def _type(rule: Json) -> str:
    if "$ref" in rule:
        return str(rule["$ref"].rpartition("/")[2])
    if "const" in rule:
        value = rule["const"]
        return f"`{value if isinstance(value, str) else json.dumps(value)}`"
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if "anyOf" in rule or "oneOf" in rule:
        return " or ".join(_type(choice) for choice in rule.get("anyOf") or rule["oneOf"])
    kind = rule.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


if __name__ == "__main__":
    shape = as_markdown if sys.argv[1:] == ["markdown"] else as_json
    sys.stdout.write(shape(build()))
