"""Mutants of the protocol: intents, answers, looks, resends, the end of a run."""

from __future__ import annotations

from tests.mutants.trial import Mutant

PROTOCOL = "tests/engine/test_protocol.py"
RESENDS = "tests/engine/test_protocol_resends.py"
SESSION = "tests/engine/test_session.py"
SETTLED = "tests/engine/test_doubts_settled.py"
FAULTS = "tests/engine/test_faults_in_answers.py"
UPLOADING = "tests/core/test_uploading.py"

_SESSION = "qbo_attach/engine/session.py"
_ANSWERS = "qbo_attach/engine/answers.py"
_SETTLING = "qbo_attach/engine/settling.py"
_LOOKING = "qbo_attach/engine/looking.py"
_UPLOADING = "qbo_attach/core/uploading.py"

MUTANTS = (
    Mutant(
        "new_requestid_on_a_resend",
        "a group in doubt goes again under another requestid",
        _SETTLING,
        "again = Group(intent.request_id, intent.boundary,",
        "again = Group(session.new_id(), intent.boundary,",
        (PROTOCOL,),
    ),
    Mutant(
        "intent_after_send",
        "groups are handed to the senders while their intents are still being written",
        _SESSION,
        """        try:
            await self.writer.flush()
        except Exception:  # noqa: BLE001 - the writer told it to `stop`
""",
        """        for group in groups:
            self._ready.put_nowait(group)
        groups, sent = [], groups
        try:
            await self.writer.flush()
            self._in_hand -= len(sent)
        except Exception:  # noqa: BLE001 - the writer told it to `stop`
""",
        (PROTOCOL,),
    ),
    Mutant(
        "outcome_before_answer",
        "success is recorded when the request leaves",
        _SESSION,
        "        group.may_have_left = True\n",
        """        group.may_have_left = True
        at = utc_text(self.clock.utcnow())
        for file in group.files:
            self.record(Recorded(at, "success", file.key, file.path, group.request_id))
""",
        (PROTOCOL,),
    ),
    Mutant(
        "a_429_counts_as_a_failure",
        "throttles count among the failures in a row that end a run",
        _ANSWERS,
        "counts = not faults.is_throttle(error.fault) and error.fault.status != 401",
        "counts = error.fault.status != 401",
        (PROTOCOL,),
    ),
    Mutant(
        "a_429_is_a_refusal",
        "a throttled group has the outcome error",
        "qbo_attach/qbo/faults.py",
        "429: Rule(_NOT_DONE, _AGAIN),",
        "429: Rule(_REFUSED, _AGAIN),",
        (PROTOCOL,),
    ),
    Mutant(
        "look_skipped",
        "a group in doubt is sent again without asking QBO",
        _SETTLING,
        """        found = await look(self._session, due, settled=True)
        for doubt in due:""",
        """        found: dict[str, dict[str, Attachable]] = {}
        for doubt in due:""",
        (PROTOCOL, SESSION),
    ),
    Mutant(
        "settle_time_skipped",
        "a look counts as settled at once",
        _SETTLING,
        "return max(self._due.get(request_id, 0.0), over + session.options.settle_s)",
        "return max(self._due.get(request_id, 0.0), over)",
        (PROTOCOL,),
    ),
    Mutant(
        "later_looks_do_not_settle",
        "the second and third look follow the first at once",
        _SETTLING,
        "self._due[intent.request_id] = session.clock.monotonic() + session.options.settle_s",
        "self._due[intent.request_id] = session.clock.monotonic()",
        (PROTOCOL,),
    ),
    Mutant(
        "one_look_is_enough",
        "a new requestid is taken after the first settled look",
        "qbo_attach/core/history.py",
        "SETTLED_LOOKS = 3",
        "SETTLED_LOOKS = 1",
        (PROTOCOL,),
    ),
    Mutant(
        "taken_over_group_is_settled_at_once",
        "a request of a process that may still live is taken for over",
        _SESSION,
        "over = now if unproven is None else max(now, unproven + SEND_BY_S + 120.0)",
        "over = now",
        (PROTOCOL,),
    ),
    Mutant(
        "position_instead_of_name",
        "an answer's items are taken in the order of the files",
        _UPLOADING,
        """            file = by_key.get(attachable.tag) or by_key.get(attachable.note)
            file = file or of_name.get(folded(attachable.file_name))
""",
        """            file = files[len(made)] if by_key and of_name else None
""",
        (UPLOADING,),
    ),
    Mutant(
        "missing_item_is_success",
        "a file that the answer does not mention is taken for done",
        _ANSWERS,
        """        if missing:
            self._doubt(group, missing)
""",
        """        for file in missing:
            self._record(group, file, Outcome.SUCCESS)
""",
        (PROTOCOL,),
    ),
    Mutant(
        "adoption_by_name_alone",
        "what has the file's name is adopted, whatever its entity, size and age",
        _UPLOADING,
        """        set(file.refs) <= set(attachable.refs)
        and folded(attachable.file_name) == folded(file.sent_file_name)
        and attachable.size_bytes == file.size_bytes
        and bool(attachable.created_at)
        and datetime.fromisoformat(attachable.created_at.replace("Z", "+00:00")) >= not_before
""",
        """        folded(attachable.file_name) == folded(file.sent_file_name)
        and not_before is not None
""",
        (UPLOADING,),
    ),
    Mutant(
        "resend_though_the_source_changed",
        "the state of the sources is not asked for before a resend",
        _SETTLING,
        "unchanged=frozenset(k for k, s in states.items() if s is SourceState.UNCHANGED),",
        "unchanged=frozenset(states),",
        (PROTOCOL,),
    ),
    Mutant(
        "resend_of_a_group_in_part",
        "the identical request goes again although a file of it has its outcome",
        "qbo_attach/core/history.py",
        "        doubt.partial = True\n",
        "",
        ("tests/core/test_history.py",),
    ),
    Mutant(
        "send_by_is_ignored",
        "an old intent is good for ever",
        _SESSION,
        "if self.clock.monotonic() > group.send_by:",
        "if self.clock.monotonic() > group.send_by + 1e9:",
        (PROTOCOL,),
    ),
    Mutant(
        "sending_goes_on_after_a_stop",
        "groups that are ready still leave after the run was stopped, or lost its lease",
        _SESSION,
        "if self.stopped is not None or self.writer.failure is not None:",
        "if self.stopped is not None and self.clock.monotonic() < 0:",
        (SESSION, PROTOCOL),
    ),
    Mutant(
        "a_hanging_request_was_not_sent",
        "a request that is cancelled at the end of a run is taken for not sent",
        _ANSWERS,
        "        if group.may_have_left:\n            self.in_doubt(group)",
        "        if group.may_have_left and not group.clean:\n            self.in_doubt(group)",
        (PROTOCOL,),
    ),
    Mutant(
        "a_stopped_resend_was_not_sent",
        "a resend that is stopped closes the doubt of its first sending",
        _ANSWERS,
        "        if not group.clean:\n            # An earlier sending",
        "        if not group.clean and not group.files:\n            # An earlier sending",
        (PROTOCOL,),
    ),
    Mutant(
        "a_refused_resend_ends_the_doubt",
        "a resend that is refused as a whole is an error although the first may come late",
        _ANSWERS,
        "        if good or group.may_come_late:\n",
        "        if good:\n",
        (RESENDS,),
    ),
    Mutant(
        "a_refusal_within_a_good_answer_is_believed",
        "a fault in place of the items, with 200, is taken for one that comes before all effect",
        _ANSWERS,
        "        good = _is_good(group, error)\n",
        "        good = _is_good(group, error) and not group.files\n",
        (FAULTS,),
    ),
    Mutant(
        "unnamed_faults_are_dealt_out_by_position",
        "a fault that may come after the effect is one file's, though it names none",
        _ANSWERS,
        "doubtful = len(unsure) > 1 and Recovery.IN_DOUBT in kinds",
        "doubtful = len(unsure) > len(group.files) and Recovery.IN_DOUBT in kinds",
        (FAULTS,),
    ),
    Mutant(
        "a_fault_is_the_first_files_that_it_fits",
        "a fault that mentions the entity of several files is taken for the first one's",
        _UPLOADING,
        "        if len(found) == 1:\n",
        "        if found:\n",
        (UPLOADING, FAULTS),
    ),
    Mutant(
        "different_faults_are_dealt_out_by_position",
        "of different faults that fit no file each is taken for the next file's",
        _ANSWERS,
        "different = len({fault.code for fault in by_key.values()}) > 1",
        "different = len({fault.code for fault in by_key.values()}) < 0",
        (FAULTS,),
    ),
    Mutant(
        "a_stop_within_a_good_answer_had_no_effect",
        "a group whose whole answer is a fault with 200 that ends the run counts as not sent",
        _ANSWERS,
        "                if _is_good(group, error):\n",
        "                if _is_good(group, error) and not group.files:\n",
        (FAULTS,),
    ),
    Mutant(
        "a_number_in_a_text_is_an_entity",
        "a text with the number of an entity proves whose fault it is, whatever the others are",
        _ANSWERS,
        "unsure = matched.guessed | matched.weak",
        "unsure = matched.guessed",
        (FAULTS,),
    ),
    Mutant(
        "items_that_come_again_are_not_counted",
        "files whose items ask to come again are sent again at once, for ever",
        _ANSWERS,
        "        if not again or matched.made:\n",
        "        if group.files:\n",
        (FAULTS,),
    ),
    Mutant(
        "refusals_told_apart_are_waits",
        "sending files alone, to tell their faults apart, counts among what ends a run",
        _ANSWERS,
        "elif not alone and self._is_put_off_too_often(group, matched, again):",
        "elif self._is_put_off_too_often(group, matched, again):",
        (FAULTS,),
    ),
    Mutant(
        "one_locked_file_ends_the_run",
        "a file that always asks to come again ends the run, so that no look is made",
        _ANSWERS,
        "if len(self._put_off) > FEW_FILES:",
        "if self._put_off:",
        (FAULTS,),
    ),
    Mutant(
        "a_strangers_attachable_is_ours",
        "what is found without our marker counts as made by us, so that an undo deletes it",
        _SETTLING,
        "Outcome.ADOPTED if ours[key] else Outcome.ALREADY_IN_QBO",
        "Outcome.ADOPTED",
        (SETTLED,),
    ),
    Mutant(
        "the_last_look_asks_for_markers_alone",
        "a marker that QBO does not keep doubles what was not answered",
        _LOOKING,
        "if settled and _is_last(doubt) and len(theirs) < len(doubt.open):",
        "if settled and _is_last(doubt) and len(theirs) > len(doubt.open):",
        (SETTLED,),
    ),
    Mutant(
        "another_marker_is_asked_for",
        "a group is looked for by the marker that is set now, not by the one that it carries",
        _LOOKING,
        "    return intent.marker != session.options.marker\n",
        "    return not intent.files\n",
        (SETTLED,),
    ),
    Mutant(
        "a_look_is_counted_twice",
        "two settled looks pass for three where the log is written between",
        _SETTLING,
        "            looks=looks,\n",
        "            looks=doubt.settled_looks + 1,\n",
        (SETTLED,),
    ),
    Mutant(
        "a_locked_company_gives_a_new_requestid",
        "a resend that met a locked company goes on under a new requestid at once",
        _ANSWERS,
        "        elif group.may_come_late:\n            return Recovery.IN_DOUBT\n",
        "",
        (RESENDS,),
    ),
    Mutant(
        "a_plan_is_believed",
        "what the chain knows by now as done is sent all the same",
        _SESSION,
        "            done is not None\n            or file.path in history.done\n",
        "            (done is not None and not file.path)\n",
        (PROTOCOL,),
    ),
    Mutant(
        "half_of_a_refused_group_is_dropped",
        "of a refused group only the first half goes on",
        _ANSWERS,
        "for half in (group.files[:middle], group.files[middle:]):",
        "for half in (group.files[:middle],):",
        (SESSION,),
    ),
    Mutant(
        "a_failed_write_is_passed_over",
        "a segment that could not be written stops nothing",
        "qbo_attach/engine/writer.py",
        """            self.failure = error
            self._on_failure(error)
            raise
""",
        """            self._written_at = self._clock.monotonic()
            del error
            return
""",
        (SESSION,),
    ),
    Mutant(
        "an_altered_source_is_sent",
        "bytes are sent that are not those the plan read",
        "qbo_attach/engine/groups.py",
        "if file.sha256 and found != file.sha256:",
        "if file.sha256 and not found:",
        ("tests/engine/test_protocol_sources.py",),
    ),
)
