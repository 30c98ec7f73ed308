"""What a user asks for, one name each: train, evaluate, finetune, embed, export, report, profile, bench."""
