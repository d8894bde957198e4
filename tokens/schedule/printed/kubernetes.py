"""A CronJob for Kubernetes."""

from .literal import literal
from .project import Project


def kubernetes(project: Project) -> str:
    """Return a manifest. The image is a blank to fill in: this process can't know it."""
    words = ", ".join(literal(_unexpanded(word)) for word in ["manage.py", *project.options])
    return f"""\
# Fill in the image, then: kubectl apply -f tokens-cleanup.yaml
# See that it works: kubectl create job --from=cronjob/tokens-cleanup tokens-cleanup-now
#                    kubectl logs --follow job/tokens-cleanup-now
apiVersion: batch/v1
kind: CronJob
metadata:
  name: tokens-cleanup
spec:
  # Hourly; TOKENS_CLEANUP_INTERVAL decides whether a tick cleans up.
  schedule: "7 * * * *"
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 1800
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 2
      template:
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          containers:
            - name: tokens-cleanup
              image: YOUR-IMAGE:TAG  # <- the image of your site
              # As the image has them. Its working directory must be the one with manage.py.
              command: ["python", {words}]
              env:
                - name: DJANGO_SETTINGS_MODULE
                  value: {literal(_unexpanded(project.settings))}
              # The same secrets as your site:
              # envFrom: [{{secretRef: {{name: YOUR-SECRET}}}}]
              resources:
                requests: {{cpu: 50m, memory: 128Mi}}
              securityContext:
                allowPrivilegeEscalation: false
                capabilities: {{drop: [ALL]}}
"""


def _unexpanded(text: str) -> str:
    """Return the text so that Kubernetes replaces no $(VARIABLE) in it."""
    return text.replace("$", "$$")
