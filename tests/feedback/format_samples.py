"""A tiny synthetic file of each public format that is made of rows, as the release writes it."""

from typing import Any

USER = {"role": "user", "content": "Name a colour."}


def assistant(words: str) -> dict[str, str]:
    return {"role": "assistant", "content": words}


def _conversation(words: str) -> list[dict[str, str]]:
    return [USER, assistant(words)]


HELPSTEER = {"correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 1}
POST = {"id": "t3_1", "post": "My cat sings.", "title": "Cat", "subreddit": "cats", "site": None, "article": None}
RANKME = {
    "_created_at": "11/4/2017 12:37:13",
    "_channel": "elite",
    "_trust": "1",
    "_worker_id": "7",
    "_country": "GBR",
    "mr": "name[Blue Spice]",
    "mr_id": "1",
}
PANDALM = {"idx": 0, "motivation_app": "Mail", "cmp_key": "bloom-7b_llama-7b", "instruction": "Say hi.", "input": ""}


def _message(name: str, role: str, words: str, replies: Any = (), **more: Any) -> dict[str, Any]:
    shown = {"parent_id": None, "deleted": False, "review_result": True, "rank": None}
    return {"message_id": name, "role": role, "text": words, "replies": list(replies)} | shown | more


def tree() -> dict[str, Any]:
    """A prompt with three ranked replies, out of order, one deleted; the second of them was answered."""
    follow_up = _message("f", "prompter", "And?", [_message("g", "assistant", "Blue.", rank=0)])
    replies = [
        _message("c", "assistant", "third", rank=2),
        _message("a", "assistant", "first", rank=0),
        _message("b", "assistant", "second", [follow_up], rank=1),
        _message("d", "assistant", "gone", rank=3, deleted=True),
    ]
    return {"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": _message("p", "prompter", "?", replies)}


def prism() -> dict[str, Any]:
    """Two turns: four models, then two samples that say the same."""

    def reply(turn: int, place: int, words: str, score: int, chosen: bool) -> dict[str, Any]:
        about = {"model_name": f"m{place}", "score": score, "if_chosen": chosen, "within_turn_id": place}
        return {"turn": turn, "role": "model", "content": words, **about}

    first = [reply(0, i, w, s, i == 1) for i, (w, s) in enumerate([("a", 20), ("b", 90), ("c", 50), ("d", 50)])]
    second = [reply(1, 0, "same", 80, True), reply(1, 1, "same", 80, False)]
    history = [
        {"turn": 0, "role": "user", "content": "Hi"},
        *first,
        {"turn": 1, "role": "user", "content": "Why?"},
        *second,
    ]
    about = {"conversation_id": "c1", "user_id": "user7", "conversation_type": "unguided", "opening_prompt": "Hi"}
    return {**about, "conversation_history": history}


def ultrafeedback_completion(overall: float, ratings: dict[str, str]) -> dict[str, Any]:
    annotations = {aspect: {"Rating": rating, "Rationale": "..."} for aspect, rating in ratings.items()}
    known = [int(r) for r in ratings.values() if r != "N/A"]
    return {
        "model": "falcon-40b",
        "principle": "helpfulness",
        "custom_system_prompt": "Be kind.",
        "response": f"reply {overall} {ratings}",
        "critique": "Good.",
        "overall_score": overall,
        "fine-grained_score": sum(known) / len(known),
        "annotations": annotations,
    }


ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")

SAMPLES: dict[str, list[dict[str, Any]]] = {
    "trl_language_modelling": [{"text": "The sky is blue."}],
    "trl_prompt_only": [{"prompt": "The sky is"}],
    "trl_prompt_completion": [{"prompt": "The sky is", "completion": " blue."}],
    "trl_preference": [{"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}],
    "trl_preference_implicit": [{"chosen": "The sky is blue.", "rejected": "The sky is green."}],
    "trl_unpaired": [{"prompt": "The sky is", "completion": " blue.", "label": True}],
    "trl_stepwise": [{"prompt": "Which is larger?", "completions": ["Compare.", "9.8."], "labels": [True, False]}],
    "sharegpt": [{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}],
    "hh": [{"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: No."}],
    "hh_red_team": [
        {
            "transcript": "\n\nHuman: Be rude.\n\nAssistant: No.",
            "min_harmlessness_score_transcript": -0.4,
            "num_params": "52B",
            "model_type": "rlhf",
            "rating": 1.0,
            "task_description": "insults",
            "task_description_harmlessness_score": 0.2,
            "red_team_member_id": 12,
            "is_upworker": False,
            "tags": ["insults"],
        }
    ],
    "ultrafeedback": [
        {
            "source": "evol_instruct",
            "instruction": "Count.",
            "models": ["falcon-40b"] * 4,
            "correct_answers": ["None"],
            "incorrect_answers": ["None"],
            "completions": [
                ultrafeedback_completion(10, dict.fromkeys(ASPECTS, "1")),
                ultrafeedback_completion(10, dict.fromkeys(ASPECTS, "5")),
                ultrafeedback_completion(8, dict(zip(ASPECTS, ["5", "N/A", "4", "3"], strict=True))),
                ultrafeedback_completion(7, dict.fromkeys(ASPECTS, "3")),
            ],
        }
    ],
    "ultrafeedback_binarized": [
        {
            "prompt": USER["content"],
            "prompt_id": "abc",
            "chosen": _conversation("Red."),
            "rejected": _conversation("Dog."),
            "messages": _conversation("Red."),
            "score_chosen": 8.5,
            "score_rejected": 3.0,
        }
    ],
    "helpsteer": [
        {"prompt": "Add.", "response": "2", "helpfulness": 4, **HELPSTEER},
        {"prompt": "Add.", "response": "3", "helpfulness": 0, **HELPSTEER},
        {"prompt": "Say.", "response": "Hm", "helpfulness": 1, **HELPSTEER},
    ],
    "helpsteer2_preference": [
        {
            "split": "train",
            "prompt": "Add.",
            "response_1": "3",
            "response_2": "2",
            "preference_strength": 2,
            "preference_statement": "Response 2 is better.",
            "preference_elaboration": "It is right.",
            "all_preferences_unprocessed": [
                {"strength": 2, "statement": "Response 2 is better.", "elaboration": "Right."},
                {"strength": 3, "statement": "Response 2 is much better.", "elaboration": "Right."},
                {"strength": 0, "statement": "Both.", "elaboration": "Same."},
            ],
        }
    ],
    "helpsteer3": [
        {
            "domain": "code",
            "language": "english",
            "context": [USER],
            "response1": "Red.",
            "response2": "Dog.",
            "overall_preference": -2,
            "individual_preference": [
                {"score": -2, "reasoning": "A colour.", "feedback1": "Good.", "feedback2": "Bad."},
                {"score": 1, "reasoning": "Funny.", "feedback1": "Dull.", "feedback2": "Fun."},
            ],
        }
    ],
    "nectar": [
        {
            "prompt": "\n\nHuman: Hi\n\nAssistant: ",
            "answers": [
                {"answer": "a", "model": "m1", "rank": 1.0},
                {"answer": "b", "model": "m2", "rank": 2.5},
                {"answer": "c", "model": "m3", "rank": 2.5},
                {"answer": "d", "model": "m4", "rank": 4.0},
            ],
            "turns": 1,
            "num_responses": 4,
            "source": ["sharegpt"],
            "good_natured": True,
        }
    ],
    "shp": [
        {
            "post_id": "p1",
            "domain": "askculinary_train",
            "upvote_ratio": 0.98,
            "history": "How long?",
            "c_root_id_A": "ca",
            "c_root_id_B": "cb",
            "created_at_utc_A": 100,
            "created_at_utc_B": 90,
            "score_A": 2,
            "score_B": 8,
            "human_ref_A": "An hour.",
            "human_ref_B": "Two hours.",
            "labels": 0,
            "seconds_difference": 10.0,
            "score_ratio": 4.0,
        }
    ],
    "safe_rlhf": [
        {
            "prompt": "How to steal?",
            "response_0": "So.",
            "response_1": "Do not.",
            "prompt_source": "s",
            "response_0_source": "alpaca-7b",
            "response_1_source": "alpaca2-7b",
            "is_response_0_safe": False,
            "is_response_1_safe": True,
            "response_0_harm_category": {"Theft": True},
            "response_1_harm_category": {"Theft": False},
            "response_0_severity_level": 2,
            "response_1_severity_level": 0,
            "better_response_id": 0,
            "safer_response_id": 1,
            "response_0_sha256": "0",
            "response_1_sha256": "1",
        }
    ],
    "arena": [
        {
            "question_id": f"q{i}",
            "model_a": "vicuna",
            "model_b": "koala",
            "winner": winner,
            "judge": "arena_user_9",
            "conversation_a": _conversation("Red."),
            "conversation_b": _conversation("Dog."),
            "turn": 1,
            "anony": True,
            "language": "English",
            "tstamp": 1682351591.1,
            "openai_moderation": {"flagged": False},
            "toxic_chat_tag": {"t5": False},
        }
        for i, winner in enumerate(["model_a", "model_b", "tie", "tie (bothbad)"])
    ],
    "arena_55k": [
        {
            "id": 1,
            "model_a": "vicuna",
            "model_b": "koala",
            "prompt": '["Hi", "Why?"]',
            "response_a": '["Hello", "So."]',
            "response_b": '["Hey", null]',
            "winner_model_a": 1,
            "winner_model_b": 0,
            "winner_tie": 0,
        }
    ],
    "search_arena": [
        {
            "question_id": f"q{i}",
            "model_a": "sonar",
            "model_b": "gpt",
            "messages_a": _conversation("Red."),
            "messages_b": _conversation("Dog."),
            "winner": winner,
            "system_a_metadata": {"web_search_trace": []},
            "system_b_metadata": {"web_search_trace": []},
            "intents": ["fact"],
            "language": "English",
        }
        for i, winner in enumerate(["model_b", None])
    ],
    "mt_bench": [
        {
            "question_id": 81,
            "model_a": "alpaca",
            "model_b": "gpt-3.5",
            "winner": "model_b",
            "judge": "author_2",
            "conversation_a": [*_conversation("Red."), *_conversation("Pink.")],
            "conversation_b": [*_conversation("Dog."), *_conversation("Cat.")],
            "turn": 1,
        }
    ],
    "alpaca_eval": [
        {
            "instruction": "Say hi.",
            "output_1": "Hi",
            "generator_1": "base",
            "dataset": "koala",
            "output_2": "Hello there",
            "generator_2": "new",
            "annotator": "weighted_gpt4",
            "preference": preference,
            "price_per_example": 0.01,
            "time_per_example": 0.4,
            "raw_completion": {"logprobs": [0.1]},
        }
        for preference in (1.25, 1.0, 2.0, 1.5, 0)
    ],
    "pandalm": [{**PANDALM, "response1": "Hi", "response2": "Yo", "annotator1": 1, "annotator2": 0, "annotator3": 2}],
    "oasst": [tree()],
    "webgpt": [
        {
            "question": {"dataset": "eli5", "id": "e1", "full_text": "Why?"},
            "quotes_0": {"title": [], "extract": []},
            "answer_0": "So.",
            "tokens_0": {"prefix": [1], "completion": [2]},
            "score_0": -0.5,
            "quotes_1": {"title": [], "extract": []},
            "answer_1": "Thus.",
            "tokens_1": {"prefix": [1], "completion": [3]},
            "score_1": 0.5,
        }
    ],
    "summarize_comparisons": [
        {
            "info": POST,
            "summaries": [{"text": "Cat sings", "policy": "sup1", "note": None}, {"text": "Dog", "policy": "sup2"}],
            "choice": choice,
            "worker": worker,
            "batch": "batch1",
            "split": "train",
            "extra": {"confidence": 8},
        }
        for worker, choice in (("w1", 0), ("w2", 1))
    ],
    "summarize_axis": [
        {
            "info": {
                "id": "x",
                "title": "Rain",
                "article": "It rained.",
                "site": "cnn",
                "post": None,
                "subreddit": None,
            },
            "summary": {
                "text": "Rain.",
                "policy": "ref",
                "note": "",
                "axes": {"overall": 6, "accuracy": 7, "coverage": None, "coherence": 5, "compatible": True},
            },
            "worker": "w1",
            "batch": "cnndm0",
            "split": "test",
        }
    ],
    "rewardbench": [
        {
            "prompt": "Add.",
            "chosen": "2",
            "chosen_model": "gpt",
            "rejected": "3",
            "rejected_model": "llama",
            "subset": "math",
            "id": 4,
        }
    ],
    "rewardbench2": [
        {
            "id": "tied:1",
            "prompt": "Name a prime.",
            "chosen": ["2", "3"],
            "rejected": ["4", "6"],
            "num_correct": 2,
            "num_incorrect": 2,
            "total_completions": 4,
            "models": ["a", "b", "c", "d"],
            "subset": "Ties",
        }
    ],
    "prism": [prism()],
    "rank_columns": [{"tuna": "1", "egg": "3", "eel": "2"}, {"tuna": "2", "egg": "1", "eel": "3"}],
    "ukpconvarg": [{"#id": "arg1_arg2", "label": "a2", "a1": 'He said "no".', "a2": "Yes <br/> indeed"}],
    "ukpconvarg_ranking": [{"#id": "arg1", "rank": "0.0065", "argument": "Because."}],
    "llmfao": [
        {
            "id": "0",
            "prompt": "8",
            "model_x": "97",
            "model_y": "98",
            "worker": "58",
            "winner": "right",
            "left": "A",
            "right": "B",
        }
    ],
    "lamp_scores": [
        {
            "messages": [
                {"role": "system", "content": "You know writing."},
                {"role": "user", "content": "Score it on a scale from 1 to 10.\n\nParagraph:\nThe sun set."},
                {"role": "assistant", "content": '{"score": 3}'},
            ]
        }
    ],
    "polis": [
        {"timestamp": "2000", "datetime": "x", "comment-id": "1", "voter-id": "7", "vote": "-1"},
        {"timestamp": "1000", "datetime": "x", "comment-id": "1", "voter-id": "7", "vote": "1"},
        {"timestamp": "1000", "datetime": "x", "comment-id": "2", "voter-id": "7", "vote": "0"},
    ],
    "polis_matrix": [
        {
            "participant": "7",
            "group-id": "1",
            "n-comments": "0",
            "n-votes": "2",
            "n-agree": "0",
            "n-disagree": "1",
            "1": "-1",
            "2": "0",
            "3": "",
        }
    ],
    "rankme": [{**RANKME, "informativeness": "6", "naturalness": "5", "quality": "6", "ref": "A shop.", "team": "t"}],
    "coffee": [
        {
            "column_1": "1",
            "age": "25-34",
            "expertise": "7",
            **{
                f"coffee_{c}_{a}": str(1 + "abcd".index(c))
                for c in "abcd"
                for a in ("bitterness", "acidity", "personal_preference")
            },
            "prefer_abc": "Coffee C",
            "prefer_ad": "Coffee D",
            "prefer_overall": "Coffee D",
        }
    ],
    "football": [
        {
            "date": "1872-11-30",
            "home_team": "Scotland",
            "away_team": "England",
            "home_score": home,
            "away_score": "1",
            "tournament": "Friendly",
            "city": "Glasgow",
            "country": "Scotland",
            "neutral": "FALSE",
        }
        for home in ("1", "3")
    ],
    "football_shootouts": [
        {"date": "1967-08-22", "home_team": "India", "away_team": "Taiwan", "winner": "Taiwan", "first_shooter": ""}
    ],
    "dices": [
        {
            "id": f"{n}",
            "rater_id": f"r{n}",
            "rater_gender": "Woman",
            "rater_age": "gen z",
            "item_id": "5",
            "context": "USER: hi",
            "response": "Bye",
            "safety_gold": "Yes",
            "Q1_whole_conversation_evaluation": "No",
            "Q3_bias_overall": answer,
            "Q_overall": answer,
        }
        for n, answer in enumerate(["Yes", "No", "Unsure"])
    ],
    "community_alignment": [
        {
            "conversation_id": "c",
            "assigned_lang": "en",
            "annotator_id": "u1",
            "annotator_age": "25-34",
            "annotator_country": "France",
            "first_turn_prompt": "Hi",
            **{f"first_turn_response_{s}": f"hello {s}" for s in "abcd"},
            "first_turn_preferred_response": "response_c",
            "first_turn_feedback": "Warm.",
            "second_turn_prompt": "Why?",
            **{f"second_turn_response_{s}": f"so {s}" for s in "abcd"},
            "second_turn_preferred_response": "response_a",
        }
    ],
    "multipref": [
        {
            "comparison_id": "k",
            "prompt_id": "p",
            "text": "Hi",
            "completion_a": "Hello",
            "completion_b": "Go",
            "model_a": "x",
            "model_b": "y",
            "normal_worker_annotations": [
                {"evaluator": "e1", "overall_pref": "A-is-clearly-better", "helpful_pref": "Tie", "time_spent": 60}
            ],
            "expert_worker_annotations": [{"evaluator": "e2", "overall_pref": "B-is-slightly-better"}],
        }
    ],
    "prm800k": [
        {
            "labeler": "l1",
            "timestamp": "2022-07-17",
            "question": {"problem": "1+1?", "ground_truth_answer": "2"},
            "label": {
                "steps": [
                    {
                        "completions": [{"text": "Add.", "rating": 1}, {"text": "Guess.", "rating": -1}],
                        "human_completion": None,
                        "chosen_completion": 0,
                    },
                    {
                        "completions": [{"text": "It is 2.", "rating": 1}],
                        "human_completion": None,
                        "chosen_completion": None,
                    },
                ],
                "finish_reason": "solution",
            },
        }
    ],
    "math_shepherd": [
        {
            "input": "1+1? Step 1: Add. ки\nStep 2: It is 3. ки",
            "label": "1+1? Step 1: Add. +\nStep 2: It is 3. -",
            "task": "GSM8K",
        }
    ],
    "lm_human_preferences": [
        {"query": [1, 2], "sample0": [3], "sample1": [4], "sample2": [5], "sample3": [6], "best": 2}
    ],
    "sparse_feedback": [{"instruction": "Add.", "input": "1 1", "output1": "2", "output2": "3", "ranking": "(a)"}],
    "table": [{"model_a": "x", "model_b": "y", "verdict": "model_a"}],
}
