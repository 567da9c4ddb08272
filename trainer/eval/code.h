/* code.h - the code in what a model wrote about a HumanEval problem. Pure. */
#ifndef SA_EVAL_CODE_H
#define SA_EVAL_CODE_H

/* A plain completion up to the first of "\nclass", "\ndef", "\n#", "\nif" and "\nprint" (Chen et al. 2021, 2.1). malloc'd. */
extern const char *const code_stop[];
char *code_completion(const char *text);

/* The function's body in a chat reply, as QwenLM/Qwen finds it (evaluate_chat_humaneval.py, extract_code): behind the first ":\n" after
 * "def ENTRY" in the first fenced block that has it, to the end of the block; else after "def ENTRY" anywhere, else after any "def", to the first
 * line that is not indented; else the whole text, indented. What stands before the def in a block is lost. malloc'd. */
char *code_in_chat(const char *text, const char *entry);

#endif
