#!/bin/sh
# import.sh [file ...] - files of any known shape to records on standard output
#
# The shape is told from the first value of each file: Safety-Prompts, CValues, CValues-Comparison, SafetyBench, alpaca, records; a file that
# is no JSON is plain text, one prompt a line. Each shape is one filter in import/, usable alone: jq -c -f import/alpaca.jq FILE
set -eu
import=$(dirname "$0")/import

shape='first(inputs) | (if type == "array" then .[0] // {} else . end) as $o
	| if ($o | type) != "object" then "unknown"
	elif $o.pos_resp then "cvalues-comparison"
	elif $o.meta_info or $o.id_ then "cvalues"
	elif $o.question and $o.options then "safetybench"
	elif $o.instruction then "alpaca"
	elif $o.prompt then (if $o == . then "lines" else "records" end)
	elif ([$o[] | type] | unique) == ["array"] then "safety-prompts"
	else "unknown" end'

for file; do
	[ -r "$file" ] || { echo "import.sh: $file: cannot read it" >&2; exit 4; }
	[ -s "$file" ] || continue
	case $(head -c 4096 "$file" | tr -d ' \t\r\n' | head -c 1) in
	\{|\[)	kind=$(jq -rn "$shape" "$file") || { echo "import.sh: $file: no JSON" >&2; exit 2; } ;;
	*)	kind=text ;;
	esac
	case $kind in
	unknown) echo "import.sh: $file: unknown shape; known: $(ls "$import" | sed 's/\.jq$//' | tr '\n' ' ')" >&2; exit 2 ;;
	lines)	LC_ALL=C grep -a '' "$file" ;;	# records, one a line: as they are, a bad line is the filters' to report
	text)	jq -cR -f "$import/text.jq" "$file" ;;
	*)	jq -c -f "$import/$kind.jq" "$file" ;;
	esac || { echo "import.sh: $file: broken off" >&2; exit 2; }
done
