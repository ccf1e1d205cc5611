#!/bin/sh
# Print each utterance: mosquitto_sub.sh [HOST [PORT]]. The broker keeps what comes while this is away, for an hour.
exec mosquitto_sub -h "${1:-127.0.0.1}" -p "${2:-1883}" -V mqttv5 -q 1 \
  -i stser-example -c -x 3600 -t 'stser/+/+/event/emotion.utterance'
