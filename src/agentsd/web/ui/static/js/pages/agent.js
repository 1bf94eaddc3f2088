import { actions } from "../agent/actions.js";
import { activity } from "../agent/activity.js";
import { showHead } from "../agent/head.js";
import { lockOf, showLock } from "../agent/locked.js";
import { revisions } from "../agent/revisions.js";
import { standing } from "../agent/standing.js";
import { tester } from "../agent/test.js";
import { tools } from "../agent/tools.js";
import { values } from "../agent/values.js";
import { chosen, onChoice } from "../choice.js";
import { byId, fill } from "../dom.js";
import { arrive } from "../outcome.js";
import { boot } from "../shell.js";
import { keepTimes } from "../times.js";

const session = await boot();
const parts = [
  actions(session), activity(session), values(session), tester(), tools(session), revisions(session),
];
const look = standing(session.files);

function show(agent, before = null) {
  if (before && before.id !== agent.id) fill(byId("outcome"));
  showHead(agent, session.files);
  showLock(lockOf(session, agent), agent);
  for (const part of parts) part(agent);
  look();
}

arrive(byId("outcome"));
onChoice(show);
show(chosen());
keepTimes();
