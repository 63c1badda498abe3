"""The command ``meshgen``. Each verb is a small file of its own, imported when it is called."""

from __future__ import annotations

from meshgen.cli.lazy import Meshgen

HELP = """An image-generation mesh without a broker.

Make a node with `meshgen join LINE`, or `meshgen init` without a mesh, and start it with `meshgen run`; other verbs talk to it.

\b
Exit codes:
  0    all went well
  1    the job failed, or a fault was found
  2    wrong usage
  3    the node does not run, or can't be reached
  4    the settings or the home can't be used
  130  interrupted
"""

VERBS = {
    "init": "Make this machine's node: home, key and settings.",
    "join": "Join a mesh by its invite line.",
    "run": "Run the node until Ctrl-C.",
    "status": "What the running node is and does.",
    "stop": "Stop the running node.",
    "worker": "Whether this node works for others, and by which rules.",
    "pause": "Take no new work from others.",
    "resume": "Take work again.",
    "generate": "Ask the mesh for pictures.",
    "write": "Ask the mesh to go on with a text.",
    "alchemy": "What is in a picture, or a better one of it.",
    "page": "Open the node's own page in a browser.",
    "key": "The key for AI Horde's clients, and keys for others.",
    "jobs": "List jobs, show one, cancel one.",
    "peers": "Who else is in the mesh.",
    "mesh": "The mesh's charter: found one, join one, show or change it.",
    "models": "Models of the mesh, and of this node.",
    "credit": "Kudos: balances, the log behind them, its proof.",
    "receipt": "Receipts: what was paid for, and its proof.",
    "account": "Your devices' keys: add one, rotate, recover.",
    "backup": "Write the home into one sealed file: key, settings, charter, credit log, lists.",
    "restore": "Bring a home back from what `meshgen backup` made.",
    "service": "Run the node in the background, from when the machine starts on.",
    "demo": "A whole mesh on this machine, to see it work.",
    "top": "The running node, live.",
    "doctor": "Check this node and say what to mend.",
    "completion": "Shell completion for bash, zsh or fish.",
}
"""Each is the command of the same name in the module of the same name. Its help stands here too, so that --help imports none."""

main = Meshgen(name="meshgen", verbs=VERBS, help=HELP)
