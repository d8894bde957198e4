"""A service and a timer for systemd."""

from .project import Project


def systemd(project: Project) -> str:
    """Return two unit files, each under its name."""
    return f"""\
# Two files. Then: systemctl daemon-reload && systemctl enable --now tokens-cleanup.timer
# See that it works: systemctl start tokens-cleanup; journalctl -u tokens-cleanup

# --- /etc/systemd/system/tokens-cleanup.service ---
[Unit]
Description=Remove expired tokens
Wants=network-online.target
After=network-online.target
# Be told when it fails, by a unit of yours:
# OnFailure=tell-me@%n.service

[Service]
Type=oneshot
# The user who runs the site, best not root.
User={project.user}
WorkingDirectory={project.directory.replace("%", "%%")}
Environment={_quoted(f"DJANGO_SETTINGS_MODULE={project.settings}")}
# Secrets that the settings read from the environment:
# EnvironmentFile=/etc/tokens-cleanup.env
ExecStart={_command(project.command)}
# 3: stopped early, by `systemctl stop` say; the next run goes on.
SuccessExitStatus=3
Nice=10
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
PrivateDevices=yes
RestrictSUIDSGID=yes
LockPersonality=yes

# --- /etc/systemd/system/tokens-cleanup.timer ---
[Unit]
Description=Remove expired tokens, if TOKENS_CLEANUP_INTERVAL says that it is due

[Timer]
OnCalendar=*-*-* *:07:00
RandomizedDelaySec=5min
# A tick that was missed while the machine was off comes at its start.
Persistent=true

[Install]
WantedBy=timers.target
"""


def _command(words: list[str]) -> str:
    if set(words[0]) & set("\"'\\"):
        words = ["/usr/bin/env", *words]  # systemd refuses such a name, but only of a program.
    # A colon before the program keeps systemd (244 and later) from replacing variables.
    colon = ":" if any("$" in word for word in words) else ""
    return " ".join([_quoted(colon + words[0]), *map(_quoted, words[1:])])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if set(text) & set(" \"';\\") else escaped
