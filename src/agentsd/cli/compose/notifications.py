"""Part of a watcher that notifies webhooks of failure and recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.control.sync.leadership import Leadership
    from agentsd.store.database import Database
    from agentsd.supervisor import SupervisedTasks


def start_notifying(
    tasks: SupervisedTasks, settings: Settings, database: Database, leadership: Leadership
) -> None:
    """Start notifying among ``tasks``, if ``AGENTSD_NOTIFY_URL_FILE`` names a file.

    Raises ``ConfigError`` if unfit.
    """
    if settings.notify_url_file is None:
        return
    from agentsd.control.notifications.notifier import Notifier
    from agentsd.control.notifications.webhooks import read_webhooks

    read_webhooks(settings.notify_url_file)
    notifier = Notifier(database, settings.source, settings.notify_url_file, leads=lambda: leadership.leads)
    tasks.start("notify", notifier.run)
