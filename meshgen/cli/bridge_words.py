"""What an AI Horde worker's owner is told about keys that are not simply taken over."""

from __future__ import annotations

_MEMORY = "memory is a budget here: worker.vram_free_mib is left free, models stay warm in the rest"
_NO_DOWNLOAD = "this node downloads no models or LoRAs; add what you have with `meshgen models add`"
_SPEED = "bids say the speed that was measured here, so nobody has to be warned"
_CHILD = "a child process that hangs or crashes is replaced by itself"
_UNUSED = "it does nothing there either"
_NO_SCREEN = "there is no screen of its own: `meshgen status`, `meshgen worker`"
_NO_CENTRE = "there is no central server"

SECRET = {
    "api_key": "no central account: this node's own key is its account; the value was not read",
    "civitai_api_token": f"{_NO_DOWNLOAD}; the value was not read",
}
"""Their values go nowhere."""

DECIDE = {
    "priority_usernames": "accounts differ: name friends by peer id or account id, from `meshgen peers` and `meshgen credit "
    "explain`, in worker.friends; your own account goes first anyway",
    "require_upfront_kudos": "nearest: worker.max_debt_mkudos: 0 refuses who owes, worker.only_friends: true all but friends; "
    "strangers are served last in any case",
    "queue_size": "a waiting job costs no memory here and others see how long the wait is: worker.max_queue counts pictures (16)",
    "limit_max_steps": "there, steps below the model's average; here a figure: worker.max_steps, e.g. 30",
    "censor_nsfw": "pictures are never altered; to refuse such prompts: worker.declines: [nsfw]",
    "censorlist": "pictures are never altered; to refuse such prompts add the words to worker.refuse_words",
    "cache_home": "models are read where they are: `meshgen models add PATH --all` takes that folder's",
    "max_context_length": "the model's own context counts, and is part of the price",
}
"""Only if they are set to something."""

NONE = {
    "horde_url": f"{_NO_CENTRE}; mesh.bootstrap names nodes to join through",
    "scribe_name": "one node has one name: node.alias; texts are written if a text model is installed",
    "alchemist_name": "one node has one name: node.alias; forms are served unless declined",
    "kai_url": "texts are written by this node's own engine, not by another server",
    "branded_model": "a model is known by its weights' digest, so nobody can pretend to serve it",
    "safety_on_gpu": "no check is imposed on every picture; the nsfw form runs on the CPU",
    "allow_unsafe_ip": "peers are known by key and credit, not by address",
    "allow_sdxl_controlnet": "ControlNet is one switch here: worker.declines",
    "high_memory_mode": _MEMORY,
    "very_high_memory_mode": _MEMORY,
    "unload_models_from_vram_often": _MEMORY,
    "ram_to_leave_free": _MEMORY,
    "disable_disk_cache": _MEMORY,
    "cycle_process_on_model_change": _MEMORY,
    "high_performance_mode": "the queue is filled as fast as jobs are awarded",
    "moderate_performance_mode": "the queue is filled as fast as jobs are awarded",
    "post_process_job_overlap": "no setting here: the next job is begun while the last one is finished off",
    "very_fast_disk_mode": "no setting here: models are loaded as they are asked for",
    "max_lora_cache_size": _NO_DOWNLOAD,
    "purge_loras_on_download": _NO_DOWNLOAD,
    "always_download": _NO_DOWNLOAD,
    "max_models_to_download": _NO_DOWNLOAD,
    "load_large_models": "TOP and ALL choose among installed models, whatever their size",
    "download_timeout": _NO_DOWNLOAD,
    "dynamic_models": "becomes TOP n in worker.models",
    "number_of_dynamic_models": "becomes TOP n in worker.models, if dynamic_models is true",
    "model_stickiness": "requesters choose; a loaded model's shorter wait speaks for itself",
    "extra_slow_worker": _SPEED,
    "suppress_speed_warnings": _SPEED,
    "stats_output_frequency": _NO_SCREEN,
    "disable_terminal_ui": _NO_SCREEN,
    "exit_on_unhandled_faults": _CHILD,
    "process_timeout": _CHILD,
    "post_process_timeout": _CHILD,
    "preload_timeout": _CHILD,
    "minutes_allowed_without_jobs": _CHILD,
    "remove_maintenance_on_init": f"{_NO_CENTRE} that puts a worker into maintenance; `meshgen pause` is yours alone",
    "temp_dir": _UNUSED,
    "capture_kudos_training_data": "prices follow the mesh's tariff, which nobody has to be trained for",
    "kudos_training_data_file": "prices follow the mesh's tariff, which nobody has to be trained for",
}
"""Why there is no counterpart."""
