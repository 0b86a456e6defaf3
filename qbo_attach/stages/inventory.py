"""Stage `inventory`: FILES_DIR to DATA_DIR/attachments_inventory.csv."""

from __future__ import annotations

from collections import Counter

from qbo_attach.core.errors import StorageError
from qbo_attach.core.inventory import Survey, Tree, check_shrink
from qbo_attach.core.layout import Layout
from qbo_attach.core.model import StageResult
from qbo_attach.core.tables import COLUMNS, INVENTORY, InventoryRow
from qbo_attach.settings import Settings
from qbo_attach.stages.inputs import client_rules, data_store, id_rules, load_entity_types
from qbo_attach.storage.artifacts import read_table, write_table
from qbo_attach.storage.files import Store


def run_inventory(settings: Settings) -> StageResult:
    """List the legacy tree and write one row a file.

    Returns:
        Counts: `files`, `clients`, `unrecognized_path` (paths that do not fit the layout) and
        `problems` (files that cannot be read).

    Raises:
        StorageError: the tree is not there, or has no file.
        SettingError: LEGACY_LAYOUT or LEGACY_CLIENTS.
        NotStartedError: less than half of the last inventory, or of a client, is left.
    """
    layout = Layout.parse(settings.legacy_layout, load_entity_types(settings))
    source = Store(settings.files_dir, settings.storage_options)
    tree = Tree(source.list_files(), layout, id_rules(settings))
    if not tree:
        raise StorageError(source.url, "holds no file; check FILES_DIR")
    survey = tree.survey()
    notes = client_rules(settings).check(survey.files_by_client)
    data = data_store(settings)
    if not settings.allow_shrink:
        check_shrink(_files_before(data), survey)
    artifact = write_table(data, INVENTORY, COLUMNS[INVENTORY], tree.rows(survey))
    counts = {
        "files": len(tree),
        "clients": len(survey.files_by_client),
        "unrecognized_path": survey.unrecognized,
        "problems": tree.problems,
    }
    return StageResult((artifact,), counts, notes + _about(survey, settings))


def _files_before(data: Store) -> Counter[str]:
    """Files by client in the last inventory; none where there is no inventory."""
    if data.info(INVENTORY) is None:
        return Counter()
    return Counter(row.client for row in read_table(data, INVENTORY, InventoryRow))


def _about(survey: Survey, settings: Settings) -> tuple[str, ...]:
    if not survey.unrecognized:
        return ()
    sentence = (
        f"{survey.unrecognized:,} of {survey.files:,} files do not fit "
        f"LEGACY_LAYOUT={settings.legacy_layout}; their rows have the status unrecognized_path."
    )
    return (sentence,)
