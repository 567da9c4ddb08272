# an array of records -> records, one a line (files that have one a line already are passed on as they are)
.[]
