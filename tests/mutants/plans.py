"""Mutants of the plan: names, renames, what QBO holds already."""

from __future__ import annotations

from tests.mutants.trial import Mutant

PLANNING = "tests/core/test_planning.py"
EXISTING = "tests/core/test_existing.py"
EXISTING_DOUBTS = "tests/core/test_existing_doubts.py"
EXISTING_STAGE = "tests/stages/test_existing.py"
UPLOADING = "tests/core/test_uploading.py"

_OVERTOOK = "test_a_plan_that_another_log_dir_overtook_is_refused_before_it_sends"
_VANISHED = "test_more_than_one_in_a_hundred_vanished_stops_the_run_with_a_question"

_SITTING = "qbo_attach/core/sitting.py"
_STAGE = "qbo_attach/stages/existing.py"

MUTANTS = (
    Mutant(
        "existing_attachables_are_not_read",
        "a plan does not ask what QBO holds",
        "qbo_attach/stages/plan.py",
        'if settings.existing == "off":',
        'if settings.existing in ("off", "check"):',
        (f"{EXISTING_STAGE}::test_with_the_log_dir_lost_nothing_is_sent_again",),
    ),
    Mutant(
        "existing_attachables_are_passed_over",
        "what QBO holds is read and has no effect",
        _SITTING,
        "            held = paired.get(member.file_path)\n",
        "            held = paired.get(member.file_path + member.file_path)\n",
        (EXISTING,),
    ),
    Mutant(
        "existing_by_name_alone",
        "an attachable of another size is taken for the file",
        "qbo_attach/core/existing.py",
        "            if held.size_bytes == size_bytes\n",
        "            if size_bytes >= 0\n",
        (EXISTING,),
    ),
    Mutant(
        "existing_of_a_doubt_is_claimed_by_marker",
        "what carries the key of an intent in doubt is taken for another file",
        "qbo_attach/core/existing.py",
        "        if {attachable.tag, attachable.note} & self._history.doubt_of_key.keys():\n"
        "            return\n",
        "",
        (EXISTING_DOUBTS,),
    ),
    Mutant(
        "existing_of_a_doubt_is_claimed_by_name",
        "what has the name of an intent in doubt is taken for a namesake",
        "qbo_attach/core/existing.py",
        "            and self._key(place, held) not in self._history.doubt_of_key\n",
        "",
        (EXISTING_DOUBTS,),
    ),
    Mutant(
        "an_overtaken_plan_is_sent",
        "what somebody put there since the plan is not seen",
        _STAGE,
        "    if not new:\n        return\n",
        "    return\n",
        (f"{EXISTING_STAGE}::{_OVERTOOK}",),
    ),
    Mutant(
        "many_vanished_ask_nobody",
        "a run goes on although QBO lost much of what was sent",
        "qbo_attach/engine/holdings.py",
        "VANISHED_SHARE = 0.01",
        "VANISHED_SHARE = 1.01",
        (f"{EXISTING_STAGE}::{_VANISHED}",),
    ),
    Mutant(
        "a_changed_mapping_is_passed_over",
        "a done attachment whose entity is another now is skipped",
        _SITTING,
        "        if not planner.entity_is(done, row):\n",
        "        if not planner.entity_is(done, row) and not done.key:\n",
        (PLANNING,),
    ),
    Mutant(
        "a_renamed_file_is_sent_again",
        "a done attachment that lies elsewhere now is not known again",
        _SITTING,
        "            return known == digest",
        "            return known != digest",
        (PLANNING,),
    ),
    Mutant(
        "names_differ_by_case",
        "two names that are equal but for case are two keys",
        "qbo_attach/core/naming.py",
        "        return file_name.lower()\n",
        "        return file_name\n",
        (PLANNING,),
    ),
    Mutant(
        "a_twin_takes_a_name_that_is_held",
        "a file whose name is in QBO with another content is sent under the same name",
        _SITTING,
        "            and not self._history.holds(natural_key)\n",
        "",
        (PLANNING,),
    ),
    Mutant(
        "a_digest_name_meets_a_literal_one",
        "a digest name that a file of the tree has is given to another",
        _SITTING,
        "            if not self._is_free(row, name, key):\n                continue\n",
        "",
        (PLANNING,),
    ),
    Mutant(
        "equal_names_travel_together",
        "two files of one name go in one group, so that its answer cannot be matched",
        "qbo_attach/core/uploading.py",
        "            if name in names:\n",
        "            if name in names and not group:\n",
        (UPLOADING,),
    ),
)
