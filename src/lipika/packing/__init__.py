"""From what people have (folders, lists, corpora, long recordings) to input archives."""
