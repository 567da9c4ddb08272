# CValues-Comparison: {"prompt","pos_resp","neg_resp","pos_type","neg_type"} -> records; the unsafe response is the one to be replaced
{prompt, response: .neg_resp, source: "cvalues-comparison", reference: .pos_resp, pos_type, neg_type}
