"""A service and a timer for systemd."""

from ..exit_codes import ROWS_LEFT
from .project import Project

_UNITS = """\
# Two files. Then: systemctl daemon-reload && systemctl enable --now tokens-cleanup.timer
# Try it: systemctl start tokens-cleanup; journalctl -u tokens-cleanup

# --- /etc/systemd/system/tokens-cleanup.service ---
[Unit]
Description=Remove expired tokens
Wants=network-online.target
After=network-online.target
# To be told when it fails, name a unit of yours:
# OnFailure=tell-me@%n.service

[Service]
Type=oneshot
# The user who runs the site, preferably not root.
User={user}
WorkingDirectory={directory}
Environment={environment}
# Secrets that the settings read from the environment:
# EnvironmentFile=/etc/tokens-cleanup.env
ExecStart={command}
# 3: stopped early, for example by `systemctl stop`; the next run continues.
SuccessExitStatus={rows_left}
Nice=10
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

# --- /etc/systemd/system/tokens-cleanup.timer ---
[Unit]
Description=Remove expired tokens hourly, if TOKENS_CLEANUP_INTERVAL says it is due

[Timer]
OnCalendar=*-*-* *:07:00
RandomizedDelaySec=5min
# Catch up at boot if the machine was off.
Persistent=true

[Install]
WantedBy=timers.target
"""


def systemd(project: Project) -> str:
    """Return two unit files, each under its name."""
    return _UNITS.format(
        user=project.user,
        directory=project.directory.replace("%", "%%"),
        environment=_quoted(f"DJANGO_SETTINGS_MODULE={project.settings}"),
        command=_command(project.command),
        rows_left=ROWS_LEFT,
    )


def _command(words: list[str]) -> str:
    if set(words[0]) & set("\"'\\"):
        words = ["/usr/bin/env", *words]  # systemd refuses such a name, but only for a program.
    # A colon before the program keeps systemd (244 and later) from replacing variables.
    colon = ":" if any("$" in word for word in words) else ""
    return " ".join([_quoted(colon + words[0]), *map(_quoted, words[1:])])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if set(text) & set(" \"';\\") else escaped
