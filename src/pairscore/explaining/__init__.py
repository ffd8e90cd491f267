"""Why a pair has its score: what each sentence and each word of the document contributes, by leaving it out."""
