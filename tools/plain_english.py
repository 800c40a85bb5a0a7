#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""Writes small stories in plain English: the text that `make demo` trains on where there is no better one.

    tools/plain_english.py --documents 3000 --seed 1 > stories.txt

A story has two people, a place, an animal, a thing and a trade that stay the same, so that a hidden word can often be told
from the words around it. The same seed gives the same text. One paragraph a line, an empty line after each story.
"""

import argparse
import random
import sys

WOMEN = "Anna Clara Ellen Grace Helen Ida Jane Kate Laura Mary Nora Rose Ruth Sarah Susan".split()
MEN = "Adam Arthur Daniel Edward Frank George Henry Jacob John Martin Oliver Peter Robert Thomas Walter".split()

# A place: where it is, what one hears there, what grows or lies there.
PLACES = [
    ("the farm", "in a green valley", "the cows in the barn", "apples"),
    ("the harbour", "by the grey sea", "the waves against the wall", "shells"),
    ("the mill", "beside the river", "the water under the wheel", "reeds"),
    ("the school", "at the end of the street", "the bell in the tower", "leaves"),
    ("the inn", "on the old road", "the carts in the yard", "roses"),
    ("the market", "in the middle of the town", "the voices of the sellers", "cabbages"),
    ("the lighthouse", "on the high cliff", "the cry of the gulls", "stones"),
    ("the forest hut", "among the tall trees", "the wind in the branches", "mushrooms"),
    ("the workshop", "behind the church", "the hammer on the iron", "nails"),
    ("the garden", "below the hill", "the bees in the flowers", "pears"),
]

# An animal: its young, what it eats, the sound it makes, where it sleeps.
ANIMALS = [
    ("dog", "puppies", "meat", "barked", "by the door"),
    ("cat", "kittens", "fish", "purred", "on the chair"),
    ("horse", "foals", "hay", "neighed", "in the stable"),
    ("goat", "kids", "grass", "bleated", "behind the fence"),
    ("hen", "chicks", "corn", "clucked", "in the straw"),
    ("donkey", "foals", "thistles", "brayed", "under the roof"),
    ("duck", "ducklings", "bread", "quacked", "beside the pond"),
]

# A trade: who does it, what is made or done, with which tool, from what.
TRADES = [
    ("baker", "baked bread", "oven", "flour"), ("carpenter", "made tables", "saw", "wood"),
    ("smith", "made horseshoes", "hammer", "iron"), ("tailor", "sewed coats", "needle", "cloth"),
    ("farmer", "ploughed the fields", "plough", "seed"), ("painter", "painted pictures", "brush", "colour"),
    ("fisher", "caught fish", "net", "rope"), ("doctor", "cured the sick", "knife", "medicine"),
    ("teacher", "taught the children", "ruler", "paper"), ("gardener", "planted trees", "spade", "earth"),
]

THINGS = [
    ("key", "small", "opened the door", "lock"), ("lamp", "bright", "lit the room", "oil"),
    ("letter", "long", "brought the news", "envelope"), ("clock", "old", "struck the hour", "wheels"),
    ("book", "thick", "told of far countries", "pages"), ("ring", "golden", "shone in the sun", "stone"),
    ("basket", "round", "held the bread", "handle"), ("map", "torn", "showed the way", "corners"),
    ("violin", "fine", "made sweet music", "strings"), ("boat", "blue", "crossed the water", "oars"),
]

# The weather, what people do in it, and what the sky is like.
WEATHER = [
    ("it rained", "stayed indoors", "dark"), ("it snowed", "lit a fire", "white"), ("the sun shone", "sat outside", "clear"),
    ("the wind blew", "closed the windows", "wild"), ("there was a storm", "waited for morning", "black"),
    ("there was a fog", "lit the lanterns", "grey"), ("it was hot", "rested in the shade", "blue"),
    ("it was cold", "wore thick coats", "pale"),
]

SEASONS = [
    ("spring", "the first flowers opened", "warmer"), ("summer", "the days were long", "hotter"),
    ("autumn", "the leaves turned red", "cooler"), ("winter", "the pond was frozen", "colder"),
]

FEELINGS = [
    ("happy", "laughed", "smile"), ("sad", "wept", "tear"), ("angry", "shouted", "frown"), ("tired", "yawned", "sigh"),
    ("afraid", "trembled", "whisper"), ("proud", "sang", "song"),
]

MEALS = [("breakfast", "morning", "eggs", "milk"), ("dinner", "afternoon", "soup", "water"), ("supper", "evening", "cheese", "tea")]
NUMBERS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
KIN = [("brother", "sister"), ("husband", "wife"), ("father", "daughter"), ("uncle", "niece"), ("son", "mother")]


class Story:
    """What stays the same in one story, as the names of the templates below."""

    def __init__(self, generator):
        self.choose = generator.choice
        her_first = generator.random() < 0.5
        woman, man = self.choose(WOMEN), self.choose(MEN)
        male, female = self.choose(KIN)
        self.words = {"a": woman, "she": "she", "her": "her", "her_own": "her", "b": man, "he": "he", "him": "him", "his": "his",
                      "kin_b": male, "kin_a": female}
        if not her_first:
            self.words.update({"a": man, "she": "he", "her": "him", "her_own": "his", "b": woman, "he": "she", "him": "her",
                               "his": "her", "kin_b": female, "kin_a": male})
        self.add("place where sound grows", self.choose(PLACES))
        self.add("animal young food cry bed", self.choose(ANIMALS))
        self.add("trade work tool stuff", self.choose(TRADES))
        self.add("thing kind use part", self.choose(THINGS))
        self.add("season sign warmer", self.choose(SEASONS))

    def add(self, names, values):
        self.words.update(zip(names.split(), values))

    def tell(self, template):
        """Fills a template; what changes from sentence to sentence is drawn anew."""
        self.add("weather shelter sky", self.choose(WEATHER))
        self.add("feeling act trace", self.choose(FEELINGS))
        self.add("meal time dish drink", self.choose(MEALS))
        self.add("number day", (self.choose(NUMBERS), self.choose(DAYS)))
        text = template.format_map(self.words)
        return text[0].upper() + text[1:]


OPENINGS = [
    "{a} lived near {place}, {where}. {she} was a {trade} and {work} every day.",
    "There was once a {trade} called {a}, who lived near {place} {where}.",
    "In {season}, when {sign}, {a} came to {place} with {her_own} {kin_b} {b}.",
    "{a} and {her_own} {kin_b} {b} had a house near {place}, {where}.",
    "Long ago a {trade} named {a} {work} near {place}, and {b} was {her_own} {kin_b}.",
]

MIDDLES = [
    "a {trade} needs a {tool}, and {a} always had {her_own} {tool} at hand.",
    "with {her_own} {tool} and some {stuff}, {a} {work} from morning to evening.",
    "{b} bought {stuff} for the {trade} on {day}.",
    "the {animal} {cry} when {b} brought some {food}.",
    "a {animal} eats {food}, and {a} gave it {food} every day.",
    "the {animal} slept {bed} and had {number} {young}.",
    "in the night the {animal} {cry}, and its {young} came to it.",
    "from the window {she} could hear {sound}.",
    "{b} listened to {sound} and was glad to be near {place}.",
    "{a} gathered {number} {grows} near {place} and put them on the table.",
    "there were many {grows} near {place} that {season}.",
    "on {day} {weather}, so they {shelter}.",
    "when {weather}, the sky was {sky} and everybody {shelter}.",
    "it was {season}, {sign}, and every day was {warmer} than the one before.",
    "{a} had a {kind} {thing} that {use}.",
    "one day {b} found the {thing}; it was {kind} and had lost its {part}.",
    "the {thing} {use}, and {a} would not sell it for anything.",
    "{b} looked at the {part} of the {thing} and {act}, because {he} was {feeling}.",
    "{a} was {feeling} and {act}; {b} saw it and asked {her} why.",
    "those who are {feeling} have a {trace} on their lips, said {b}.",
    "for {meal} in the {time} they had {dish} and {drink}.",
    "in the {time} {a} ate {dish} for {meal}, and {b} drank {drink}.",
    "after {meal} {a} took {her_own} {tool} and went to work again.",
    "{b} gave {her} {number} coins for the {thing}, but {she} gave them back to {him}.",
    "my {kin_a} is the best {trade} in the country, {b} said to {his} friends.",
    "my {kin_b} {b} knows more than I do, said {a} to the {animal}.",
    "it takes {number} days to go from {place} to the town on foot.",
    "on {day} {b} went to the town and came back with {stuff} and {food}.",
]

ENDINGS = [
    "in the end the {thing} was found {bed}, where the {animal} had hidden it.",
    "so {a} the {trade} kept the {thing}, and {b} kept the {animal}.",
    "that is how {a} and {b} came to live near {place}, and they live there still.",
    "when {season} was over, {a} left {place}, and {b} went with {her}.",
    "the {animal} {cry}, {b} {act}, and {a} closed the door of the house for the night.",
]


def story(generator):
    """A list of paragraphs."""
    tale = Story(generator)
    middles = generator.sample(MIDDLES, generator.randint(8, 16))
    sentences = [tale.tell(template) for template in [generator.choice(OPENINGS), *middles, generator.choice(ENDINGS)]]
    paragraphs = []
    while sentences:
        size = generator.randint(3, 6)
        paragraphs.append(" ".join(sentences[:size]))
        sentences = sentences[size:]
    return paragraphs


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--documents", type=int, default=3000, help="stories to write (default 3000, about 3 MB)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same text (default 1)")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    for _ in range(arguments.documents):
        sys.stdout.write("\n".join(story(generator)) + "\n\n")


if __name__ == "__main__":
    main()
