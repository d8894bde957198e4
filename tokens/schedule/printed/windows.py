"""A task for the Task Scheduler of Windows, as the XML that it imports."""

import subprocess
from xml.sax.saxutils import escape

from .project import Project

_TASK = """\
<?xml version="1.0"?>
<!-- Save this as tokens-cleanup.xml. Then, with the user who runs the site:
     schtasks /Create /TN tokens-cleanup /XML tokens-cleanup.xml /RU USER /RP *
     Try it: schtasks /Run /TN tokens-cleanup
             schtasks /Query /TN tokens-cleanup /V /FO LIST (Last Result: 0) -->
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>Removes expired tokens hourly, if TOKENS_CLEANUP_INTERVAL says it is due.\
</Description>
  </RegistrationInfo>
  <Triggers>
    <TimeTrigger>
      <Repetition>
        <Interval>PT1H</Interval>
        <StopAtDurationEnd>false</StopAtDurationEnd>
      </Repetition>
      <StartBoundary>2026-01-01T00:07:00</StartBoundary>
      <Enabled>true</Enabled>
    </TimeTrigger>
  </Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <Enabled>true</Enabled>
  </Settings>
  <Actions>
    <Exec>
      <Command>{program}</Command>
      <Arguments>{arguments}</Arguments>
      <WorkingDirectory>{directory}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""


def windows(project: Project) -> str:
    """Return the task in plain ASCII, so that any shell can save it unharmed."""
    program, *arguments = project.quiet_command
    task = _TASK.format(
        program=escape(program),
        arguments=escape(subprocess.list2cmdline(arguments)),
        directory=escape(project.directory),
    )
    return task.encode("ascii", "xmlcharrefreplace").decode()
