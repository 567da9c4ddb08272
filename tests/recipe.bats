# recipe.bats - sa-train --config: LLaMA-Factory's yaml, its dataset_info.json, and the paper's recipe

load lib

setup() {
	sa_setup
	T=$ROOT/tests/goldens/train
	mkdir data
	cp "$T/data.jsonl" data/sft.jsonl
	echo '{"sft":{"file_name":"sft.jsonl"},"shared":{"file_name":"s.json","formatting":"sharegpt"},
		"plain":{"file_name":"a.json","columns":{"prompt":"q","response":"a"}}}' >data/dataset_info.json
	echo '[{"conversations":[{"from":"human","value":"red?"},{"from":"gpt","value":"green"}]},{"conversations":[{"from":"gpt","value":"x"}]}]' >data/s.json
	echo '[{"q":"a cat?","a":"a door"},{"q":"a river?","a":"blue"}]' >data/a.json
	here=(--model "$T/tiny" --init "$T/tiny/config.json" --threads 1)
}

train() { run_filter sa-train "$@"; }

# recipe LINE... - r.yaml of these lines behind the least that is needed
recipe() {
	printf '%s\n' "stage: sft" "do_train: true" "finetuning_type: full" "output_dir: out" "$@" >r.yaml
}

# refused LINE WHY - with this line in it the recipe is refused at that line, for this reason
refused() {
	recipe "dataset: plain" "$1"
	train "${here[@]}" --config r.yaml
	expect_status 2
	expect_stderr_has "sa-train: r.yaml:6: $2"
	[ ! -e out ]
}

@test "recipe: what the file says is what is done, and what it does not say is LLaMA-Factory's default" {
	recipe "template: llama3" "dataset: plain, shared" "num_train_epochs: 2.0" "learning_rate: 1.0e-3" "bf16: true" "logging_steps: 10" "plot_loss: true"
	train "${here[@]}" --config r.yaml
	expect_status 0
	expect_stderr_has "data/s.json:1: record 2: left out: turn 1 is of \"gpt\"" "3 samples, " "1 left out" "2 steps of 8 x 1 samples, 0 of them warm-up" \
		"r.yaml: changes nothing here: bf16, plot_loss"
	assert_equal "$(jq -c '.lr' out/log.jsonl | xargs)" "0.001 0.0005"	# linear
	jq -e '.run | ."weight-decay" == 0 and .clip == 1 and .seed == 42 and .cutoff == 2048 and .template == "llamafactory"' out/state.json >log
}

@test "recipe: the command line goes before the file, and its data takes the place of the data sets" {
	recipe "dataset: plain" "learning_rate: 1.0e-3" "eval_dataset: shared"
	train "${here[@]}" --config r.yaml --lr 2e-3 --data data/sft.jsonl --out elsewhere --max-steps 1 --template llama3
	expect_status 0
	expect_stderr_has "30 samples, "
	jq -e '.run | .lr == 0.002 and .template == "llama3"' elsewhere/state.json >log
	[ ! -e out ]
}

@test "recipe: packing, evaluation and checkpoints" {
	recipe "dataset: sft" "dataset_dir: data" "packing: true" "neat_packing: true" "cutoff_len: 128" "val_size: 0.2" "eval_strategy: steps" "eval_steps: 2" \
		"max_steps: 5" "per_device_train_batch_size: 1" "save_steps: 4" "save_total_limit: 1" "report_to: tensorboard" "warmup_ratio: 0.5" \
		"lr_scheduler_type: cosine_with_warmup"
	train "${here[@]}" --config r.yaml
	expect_status 2
	expect_stderr_has "lr_scheduler_type: 'cosine_with_warmup' is not possible here"
	sed -i 's/cosine_with_warmup/constant/' r.yaml
	# The first line of an alpaca file decides nothing: a data set that dataset_info.json has as alpaca is read as that.
	train "${here[@]}" --config r.yaml
	expect_status 2
	expect_stderr_has 'data/sft.jsonl:1: no "output" string'
	train "${here[@]}" --config r.yaml --data data/sft.jsonl
	expect_status 0
	expect_stderr_has " packs, filled to" "6 samples of them are set aside" "5 steps of 1 x 1 packs, 0 of them warm-up"
	assert_equal "$(jq -c 'select(.eval_loss) | .step' out/log.jsonl | xargs)" "2 4 5"
	assert_equal "$(ls out/runs | wc -l)" 1
}

@test "recipe: a checkpoint after every epoch" {
	recipe "dataset: plain, shared" "num_train_epochs: 3" "per_device_train_batch_size: 2" "save_strategy: epoch" "save_steps: 1"
	train "${here[@]}" --config r.yaml
	expect_status 0
	assert_equal "$(ls -d out/step_* | xargs)" "out/step_2 out/step_4 out/step_6"
	train "${here[@]}" --dataset-info data/dataset_info.json --data plain --data shared --batch 2 --accum 1 --save-epochs --keep 1 --out last
	expect_status 0
	assert_equal "$(ls -d last/step_*)" last/step_6
}

@test "recipe: what is not here, not known or not right is refused with file and line" {
	refused "learning_rte: 1" "learning_rte: not known here"
	refused "learning_rate: fast" "learning_rate: 'fast' is no number from 0 to 1000"
	refused "finetuning_type: full" "finetuning_type: a second time"
	refused "pure_bf16: true" "pure_bf16: 'true' is not possible here (only false, no, off, 0)"
	refused "quantization_bit: 4" "quantization_bit: not known here"
	refused "template: vicuna" "template: 'vicuna' is not possible here (only llama3"
	refused "neftune_noise_alpha: 5" "neftune_noise_alpha: not known here"
	for line in "save_steps: 0.1" "eval_steps: x"; do
		recipe "dataset: plain" "eval_strategy: steps" "$line"
		train "${here[@]}" --config r.yaml
		expect_status 2
		expect_stderr_has "r.yaml: ${line%:*}: '${line#*: }' is no integer from"
	done
	refused "label_smoothing_factor: 0.1" "label_smoothing_factor: '0.1' is not possible here (only 0)"
	refused "optim: galore_adamw" "optim: 'galore_adamw' is not possible here"
	refused "deepspeed: {a: 1}" "deepspeed: a mapping is not possible here"
	recipe "optim: [adamw_torch"
	train "${here[@]}" --config r.yaml
	expect_status 2
	expect_stderr_has "r.yaml:6: did not find expected ',' or ']'"
	recipe "dataset: plain" "  - shared"	# yaml: one text of two lines
	train "${here[@]}" --config r.yaml
	expect_status 2
	expect_stderr_has 'data/dataset_info.json: there is no data set "plain - shared"'
	recipe "dataset: nothing"
	train "${here[@]}" --config r.yaml
	expect_status 2
	expect_stderr_has 'data/dataset_info.json: there is no data set "nothing"'
	train "${here[@]}" --config nowhere.yaml
	expect_status 2
	expect_stderr_has "nowhere.yaml: No such file"
	echo "just words" >r.yaml
	train "${here[@]}" --config r.yaml
	expect_status 2
	expect_stderr_has "r.yaml:1: not a mapping"
}

@test "recipe: adapters by LLaMA-Factory's names, and its defaults" {
	train "${here[@]}" --data data/sft.jsonl --out first --lr 0 --max-steps 1
	here=(--model first --threads 1)
	recipe "dataset: plain" "lora_rank: 4" "lora_alpha: 16" "lora_target: q_proj, v_proj" "max_steps: 1"
	sed -i 's/finetuning_type: full/finetuning_type: lora/' r.yaml
	train "${here[@]}" --config r.yaml
	expect_status 0
	jq -e '.r == 4 and .lora_alpha == 16 and (.target_modules | sort) == ["q_proj", "v_proj"]' out/adapter_config.json >log
	sed -i '/lora_/d; s/out$/all/' r.yaml
	train "${here[@]}" --config r.yaml
	expect_status 0
	jq -e '.r == 8 and .lora_alpha == 16 and (.target_modules | length) == 7' all/adapter_config.json >log
	echo "lora_dropout: 0.1" >>r.yaml
	train "${here[@]}" --config r.yaml
	expect_status 2
	expect_stderr_has "lora_dropout: '0.1' is not possible here (only 0)"
}

@test "recipe: preferences, from data sets of rankings and of labels under any names" {
	printf '{"q":"a%s?","good":"no","bad":"yes"}\n' 1 2 3 >data/pairs.jsonl
	printf '{"talk":[{"from":"human","value":"a%s?"}],"good":{"from":"gpt","value":"no"},"bad":{"from":"gpt","value":"yes"}}\n' 1 2 3 >data/talks.jsonl
	printf '{"q":"a%s?","a":"no","fine":true}\n{"q":"a%s?","a":"yes","fine":false}\n' 1 1 2 2 3 3 >data/labels.jsonl
	jq -c '{prompt: .q, chosen: .good, rejected: .bad}' data/pairs.jsonl >plain.jsonl
	jq -c '{prompt: .q, response: .a, label: .fine}' data/labels.jsonl >plain-labels.jsonl
	echo '{"pairs":{"file_name":"pairs.jsonl","ranking":true,"columns":{"prompt":"q","chosen":"good","rejected":"bad"}},
		"talks":{"file_name":"talks.jsonl","formatting":"sharegpt","ranking":true,"columns":{"messages":"talk","chosen":"good","rejected":"bad"}},
		"labels":{"file_name":"labels.jsonl","columns":{"prompt":"q","response":"a","kto_tag":"fine"}},
		"half":{"file_name":"pairs.jsonl","ranking":true,"columns":{"prompt":"q"}}}' >data/dataset_info.json
	train "${here[@]}" --data "$T/data.jsonl" --out first --lr 0 --max-steps 1
	here=(--model first --threads 1 --template llama3)
	lines=("pref_beta: 0.3" "pref_loss: sigmoid" "max_steps: 2" "learning_rate: 1.0e-3" "lr_scheduler_type: constant")
	same=(--pref-beta 0.3 --max-steps 2 --lr 1e-3 --schedule constant --batch 1 --accum 8 --warmup-ratio 0)
	for names in "dpo pairs plain" "dpo talks plain" "kto labels plain-labels"; do
		set -- $names
		recipe "dataset: $2" "${lines[@]}"
		sed -i "s/stage: sft/stage: $1/" r.yaml
		train "${here[@]}" --config r.yaml --batch 1 --accum 8 --warmup-ratio 0 --out "$2"
		expect_status 0
		[ -e "$3.log" ] || {
			train "${here[@]}" "${same[@]}" --stage "$1" --data "$3.jsonl" --out "$3"
			expect_status 0
			jq -c 'del(.seconds, .tokens_per_s)' "$3/log.jsonl" >"$3.log"
		}
		jq -c 'del(.seconds, .tokens_per_s)' "$2/log.jsonl" | cmp - "$3.log"
	done
	recipe "dataset: pairs" "${lines[@]}" "val_size: 0.3" "eval_strategy: steps" "eval_steps: 1"
	sed -i "s/stage: sft/stage: dpo/" r.yaml
	train "${here[@]}" --config r.yaml --out aside
	expect_status 0
	expect_stderr_has "2 samples of them are set aside to evaluate with"
	assert_equal "$(jq -c 'select(has("eval_rewards/accuracies")) | .step' aside/log.jsonl | xargs)" "1 2"
	train "${here[@]}" --dataset-info data/dataset_info.json --data pairs --out no
	expect_status 2
	expect_stderr_has "data/pairs.jsonl:1: the data set says which responses are better: that is for --stage dpo or kto"
	train "${here[@]}" --dataset-info data/dataset_info.json --data labels --stage dpo --out no
	expect_status 2
	expect_stderr_has "data/labels.jsonl:1: the data set has no columns for this stage: chosen and rejected"
	train "${here[@]}" --dataset-info data/dataset_info.json --data half --stage dpo --out no
	expect_status 2
	expect_stderr_has 'data/dataset_info.json: half: "ranking", but "columns" does not name "chosen" and "rejected"'
}

@test "recipe: what dataset_info.json says that cannot be, or that no record has, is refused by name" {
	entry() { # ENTRY WHY - with this entry nothing is trained, for that reason
		echo "{\"one\": $1}" >data/dataset_info.json
		train "${here[@]}" --dataset-info data/dataset_info.json --data one --out no
		expect_status 2
		expect_stderr_has "$2"
		[ ! -e no ]
	}
	entry '{"hf_hub_url": "a/b", "file_name": "a.json"}' 'dataset_info.json: one: "hf_hub_url": nothing is downloaded here; fetch the file and give its place as "file_name"'
	entry '{"script_url": "a.py"}' '"script_url": nothing is downloaded here'
	entry '{"file_name": "a.json", "columns": {"prompt": "quest", "response": "a"}}' 'data/a.json: no record has "quest"'
	entry '{"file_name": "a.json", "columns": {"prompt": "q", "response": "a", "system": "sys"}}' 'data/a.json: no record has "sys"'
	entry '{"file_name": "a.json", "columns": {"prompt": "q", "response": "answer"}}' 'data/a.json:1: record 1: no "answer" string'
	entry '{"file_name": "a.json", "num_samples": 3, "columns": {"prompt": "q", "response": "a"}}' 'data/a.json: has 2 records, fewer than the "num_samples"'
	# A run is not gone on with when the columns of the same file are others.
	echo '{"one": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a"}}}' >data/dataset_info.json
	train "${here[@]}" --dataset-info data/dataset_info.json --data one --out out --max-steps 2 --save-every 1
	expect_status 0
	sed -i 's/"q"/"x"/; s/"a"/"q"/; s/"x"/"a"/' data/dataset_info.json
	train "${here[@]}" --dataset-info data/dataset_info.json --data one --out out --max-steps 2 --save-every 1 --resume
	expect_status 2
	expect_stderr_has "cannot resume from out: data was"
}

@test "recipe: nulls, lists and quotes are as yaml has them" {
	recipe "dataset: [plain, shared]" "resume_from_checkpoint: null" "deepspeed: ~" "max_samples:" "warmup_steps: '1'" "max_steps: -1" "num_train_epochs: 1"
	train "${here[@]}" --config r.yaml
	expect_status 0
	expect_stderr_has "3 samples" "1 steps of 8 x 1 samples, 1 of them warm-up"
	[[ $stderr != *"changes nothing"* ]]
}

@test "recipe: the paper's, for a few steps on a small model, has its schedule" {
	# 4,000 packs of 50 would be an epoch of the paper's; here 50 samples are one step, and 3 epochs of 4,000 are asked for.
	for i in $(seq 50); do echo '{"instruction":"a","input":"","output":"b"}'; done >sft.jsonl
	sed 's/^num_train_epochs: 3.0/num_train_epochs: 12000/' "$ROOT/pipelines/paper.yaml" >paper.yaml
	sa-train --config paper.yaml --init "$T/tiny/config.json" --model "$T/tiny" --data sft.jsonl --out out --threads 1 2>stderr &
	wait_until 60 test_lines out/log.jsonl 10
	kill -TERM $!
	wait $!
	grep -F "12000 steps of 1 x 50 samples, 6 of them warm-up" stderr
	# transformers' get_cosine_schedule_with_warmup(AdamW(lr=6e-7), 6, 12000), as tests/unit/schedule.c has it
	head -n 8 out/log.jsonl | jq -es 'map(.lr) as $l | $l[0] == 0 and ([range(1; 7)] | all(. as $k | ($l[$k] - $k * 1e-7 | fabs) < 1e-20)) and $l[7] < 6e-7 and $l[7] > 5.9999e-7' >log
	jq -e '.run | .lr == 6e-7 and .beta1 == 0.9 and .beta2 == 0.999 and .eps == 1e-8 and ."weight-decay" == 0 and .clip == 1 and .cutoff == 2048 and
		.batch == 1 and .accum == 50 and .schedule == "cosine" and .seed == 42 and .template == "llamafactory"' out/step_*/state.json >log
}

test_lines() { [ -f "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]; }

@test "recipe: paper.sh runs it and goes on where it was" {
	for i in $(seq 100); do echo '{"instruction":"a","input":"","output":"b"}'; done >sft.jsonl
	train "${here[@]}" --data sft.jsonl --out first --lr 0 --max-steps 1
	BUILD=$BUILD sh "$ROOT/pipelines/paper.sh" first sft.jsonl out --template llama3 2>stderr
	grep -F "6 steps of 1 x 50 samples, 1 of them warm-up" stderr
	BUILD=$BUILD sh "$ROOT/pipelines/paper.sh" first sft.jsonl out --template llama3 2>stderr
	grep -F "out: finished already" stderr
	run sh "$ROOT/pipelines/paper.sh" first
	assert_failure 2
}
