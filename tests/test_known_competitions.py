"""Schemas of well-known image competitions, read and answered.

Only schemas are imitated: file names, columns, folders, styles of ids, the sample submission. The images are made
up, 12 px; classes are fewer than the originals'. A schema is a few templates: `{id}`, `{label}` (of several: joined by
`delimiter`), `{code}` (the class's number), `{n}` (the image's), `{each}` (a row for each class), `{has}` (0 or 1: of
`each`), `{columns}` (0 or 1 for each class), `{classes}` (their names).
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import yaml
from conftest import csv_bytes, encoded, write_zip
from layouts import sound_layout
from made_up import MadeUp, graded
from project import Project

from pipeline.commands.inspection import inspect_competition, write_settings
from pipeline.competition.schema import read_schema, several_labels
from pipeline.scoring.decision import Decision, decide
from pipeline.submission.answers import answers_of, row_cells
from pipeline.submission.contract import check_submission, make_submission

NUM_TRAIN, NUM_TEST = 36, 12
SIZE = 12


def hashed(number):
    return hashlib.md5(str(number).encode()).hexdigest()


@dataclass(frozen=True)
class Known:
    """A competition's schema, and how it must be read."""

    classes: tuple[str, ...]
    reads: tuple[str, str, str]  # target, submission, metric
    train: str  # where an image lies
    test: str
    train_tables: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (header, row)
    test_tables: dict[str, tuple[str, str]] = field(default_factory=dict)
    sample: tuple[str, str, str] = ("sample_submission.csv", "id,label", "{id},{classes[0]}")
    ids: object = hashed
    delimiter: str = ""  # several labels an image
    read_id: str = "{id}"  # how the train ids are called; of class folders by path
    more: dict[str, str] = field(default_factory=dict)  # other files, as they are
    also: tuple[str, ...] = ()  # where further copies of each image lie
    needs: dict[str, object] = field(default_factory=dict)  # lines of section `competition`
    stops: tuple[str, ...] = ()  # what the error says without those lines
    num_test: int = NUM_TEST


class Replica:
    """Files of a made-up competition with a known schema."""

    def __init__(self, known):
        self.known = known
        self.files = {}
        self.train = [self._image(number, known.train) for number in range(NUM_TRAIN)]
        self.test = [self._image(NUM_TRAIN + number, known.test) for number in range(known.num_test)]
        for name, shape in known.train_tables.items():
            self.files[name] = self._table(shape, self.train)
        for name, shape in known.test_tables.items():
            self.files[name] = self._table(shape, self.test)
        for name, content in known.more.items():
            self.files[name] = (content if isinstance(content, str) else content(self)).encode()
        name, *shape = known.sample
        self.sample = self._table(shape, self.test)
        if name:
            self.files[name] = self.sample

    def _image(self, number, place):
        known = self.known
        at = number % len(known.classes)
        labels = [known.classes[at]]
        if known.delimiter:
            labels = [
                label
                for bit, label in enumerate(known.classes[:5])
                if (1 + number % (2 ** min(5, len(known.classes)) - 1)) >> bit & 1
            ]
        fields = {
            "id": known.ids(number), "n": number, "label": known.delimiter.join(labels), "code": at,
            "columns": ",".join(str(int(label in labels)) for label in known.classes),
            "floats": ",".join(str(float(label in labels)) for label in known.classes),
            "classes": known.classes, "labels": labels, "side": "train" if number < NUM_TRAIN else "test",
            "chain": number % 3, "nth": number // len(known.classes), "sex": ("male", "female")[number % 2], "day": f"{1 + number % 28:02d}",
            "diagnosis": ("unknown", "nevus")[number % 2] if at == 0 else "melanoma",
            "word": ("benign", "malignant")[at % 2],
        }  # fmt: skip
        for where in (place, *known.also):
            self.files[where.format(**fields)] = picture(known.classes, labels, number)
        return fields | {"path": place.format(**fields)}

    def _table(self, shape, rows):
        header, row = shape
        lines = [header.format(classes=",".join(self.known.classes))]
        for fields in rows:
            for label in self.known.classes if "{each}" in row else [""]:
                lines.append(row.format(**fields, each=label, has=int(label in fields["labels"])))
        return ("\n".join(lines) + "\n").encode()

    def test_id(self, fields):
        """What the sample submission calls a test image."""
        return self.known.sample[2].split(",")[0].format(**fields, each="").removesuffix("_")

    def made_up(self, submission):
        """The competition as the independent checker knows it."""
        truth = {self.test_id(fields): set(fields["labels"]) for fields in self.test}
        target = self.known.reads[0]
        made = MadeUp(self.files, target, submission.kind, self.known.classes, truth, self.sample)
        return dataclasses.replace(made, separator=submission.separator or made.separator)


def picture(classes, labels, number):
    """A PNG in which each label brightens a channel in one half."""
    pixels = np.random.default_rng(number).integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
    for label in labels:
        half, channel = divmod(classes.index(label) % 6, 3)
        pixels[half * SIZE // 2 : (half + 1) * SIZE // 2, :, channel] |= 192
    return encoded(pixels)


BREEDS = ("affenpinscher", "afghan_hound", "african_hunting_dog", "airedale", "basenji", "cairn")
GRADES = ("0", "1", "2", "3", "4")
LEAVES = ("healthy", "multiple_diseases", "rust", "scab")
WHALES = ("new_whale", "w_1287fbc", "w_98baff9", "w_7554f44", "w_1eafe46", "w_693c9ee")
BLEEDS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
SEEDLINGS = ("Black-grass", "Charlock", "Common Chickweed", "Loose Silky-bent", "Small-flowered Cranesbill")
CARS = ("1시리즈_F20_2013_2015", "3시리즈_E90_2005_2012", "Q30_2017_2019", "더 뉴 K3 2세대_2022_2024")
LABEL, SCORE = ("single_label", "label", "accuracy"), ("binary", "score", "auc")


def coco(which, images, annotations, categories):
    """JSON of COCO style from templates of its entries; without annotations for test images."""

    def content(replica):
        images_of = getattr(replica, which)
        found = {"images": [_filled(images, fields) for fields in images_of]}
        if annotations:
            found["annotations"] = [_filled(annotations, fields) for fields in images_of]
        classes = enumerate(replica.known.classes)
        found["categories"] = [_filled(categories, {"code": at, "label": label}) for at, label in classes]
        return json.dumps(found)

    return content


def entries(which, image_key, label_key, told):
    """JSON of images with an address and a number alone, and of their labels; told: what an entry holds of them."""

    def content(replica):
        found = {
            "images": [{"url": ["https://x/y.jpg"], image_key: fields["id"]} for fields in getattr(replica, which)]
        }
        if label_key:
            found["annotations"] = [
                {label_key: told(fields["labels"]), image_key: fields["id"]} for fields in getattr(replica, which)
            ]
        return json.dumps(found)

    return content


def _filled(templates, fields):
    return {key: template.format(**fields) for key, template in templates.items()}


def side(train, test):
    """Ids of another kind for training and test images."""
    return lambda number: train.format(number) if number < NUM_TRAIN else test.format(number - NUM_TRAIN)


KNOWN = {
    "dog-breed-identification": Known(
        BREEDS, ("single_label", "columns", "log_loss"), "train/{id}.jpg", "test/{id}.jpg",
        {"labels.csv": ("id,breed", "{id},{label}")}, sample=("sample_submission.csv", "id,{classes}", "{id},0.1,0.1,0.1,0.1,0.1,0.1"),
    ),
    "aptos2019-blindness-detection": Known(
        GRADES, ("ordinal", "label", "quadratic_weighted_kappa"), "train_images/{id}.png", "test_images/{id}.png",
        {"train.csv": ("id_code,diagnosis", "{id},{label}")}, {"test.csv": ("id_code", "{id}")},
        ("sample_submission.csv", "id_code,diagnosis", "{id},0"), ids=lambda number: hashed(number)[:12],
    ),
    "plant-pathology-2020-fgvc7": Known(
        LEAVES, ("single_label", "columns", "mean_column_auc"), "images/{id}.jpg", "images/{id}.jpg",
        {"train.csv": ("image_id,{classes}", "{id},{columns}")}, {"test.csv": ("image_id", "{id}")},
        ("sample_submission.csv", "image_id,{classes}", "{id},0.25,0.25,0.25,0.25"), side("Train_{}", "Test_{}"),
        needs={"metric": "mean column-wise AUC"},
    ),
    "plant-pathology-2021-fgvc8": Known(
        ("complex", "frog_eye_leaf_spot", "healthy", "rust", "scab"), ("multi_label", "list", "samples_f1"),
        "train_images/{id}", "test_images/{id}", {"train.csv": ("image,labels", "{id},{label}")},
        sample=("sample_submission.csv", "image,labels", "{id},healthy"), ids=lambda number: hashed(number)[:16] + ".jpg",
        delimiter=" ",
    ),
    "cassava-leaf-disease-classification": Known(
        GRADES, LABEL, "train_images/{id}", "test_images/{id}", {"train.csv": ("image_id,label", "{id},{label}")},
        sample=("sample_submission.csv", "image_id,label", "{id},4"), ids=lambda number: f"{10 ** 9 + 7919 * number}.jpg",
        more={"label_num_to_disease_map.json": '{"0": "Cassava Bacterial Blight (CBB)", "4": "Healthy"}',
              "train_tfrecords/ld_train00-1338.tfrec": "x", "test_tfrecords/ld_test00-1.tfrec": "x"}, num_test=1,
    ),
    "histopathologic-cancer-detection": Known(
        ("0", "1"), SCORE, "train/{id}.tif", "test/{id}.tif", {"train_labels.csv": ("id,label", "{id},{label}")},
        sample=("sample_submission.csv", "id,label", "{id},0"), needs={"metric": "auc"},
    ),
    "dogs-vs-cats-redux-kernels-edition": Known(
        ("cat", "dog"), SCORE, "train/{label}.{id}.jpg", "test/{id}.jpg",
        sample=("sample_submission.csv", "id,label", "{id},0.5"), ids=side("{}", "{}"), read_id="{label}.{id}.jpg",
        needs={"positive": "dog"}, stops=("which class does 1 mean", "competition.positive: cat", "competition.positive: dog"),
    ),
    "dogs-vs-cats": Known(
        ("cat", "dog"), ("binary", "score", "accuracy"), "train/{label}.{id}.jpg", "test1/{id}.jpg",
        sample=("sampleSubmission.csv", "id,label", "{id},0"), ids=side("{}", "{}"), read_id="{label}.{id}.jpg",
        needs={"positive": "dog", "metric": "accuracy"}, stops=("How is it scored?", "competition.metric: accuracy"),
    ),
    "state-farm-distracted-driver-detection": Known(
        ("c0", "c1", "c2", "c3"), ("single_label", "columns", "log_loss"), "imgs/train/{label}/{id}", "imgs/test/{id}",
        {"driver_imgs_list.csv": ("subject,classname,img", "p0{n},{label},{id}")},
        sample=("sample_submission.csv", "img,{classes}", "{id},0.1,0.1,0.1,0.1"), ids=lambda number: f"img_{7 * number + 1}.jpg",
    ),
    "leaf-classification": Known(
        ("Acer_Opalus", "Pterocarya_Stenoptera", "Quercus_Hartwissiana"), ("single_label", "columns", "log_loss"),
        "images/{id}.jpg", "images/{id}.jpg", {"train.csv": ("id,species,margin1,shape1", "{id},{label},0.0078{n},0.0{n}")},
        {"test.csv": ("id,margin1,shape1", "{id},0.0078{n},0.0{n}")}, ("sample_submission.csv", "id,{classes}", "{id},0.3,0.3,0.3"),
        ids=lambda number: str(1 + 5 * number % 97),
    ),
    "diabetic-retinopathy-detection": Known(
        GRADES, ("ordinal", "label", "quadratic_weighted_kappa"), "train/{id}.jpeg", "test/{id}.jpeg",
        {"trainLabels.csv": ("image,level", "{id},{label}")}, sample=("sampleSubmission.csv", "image,level", "{id},0"),
        ids=lambda number: f"{10 + number // 2}_{('left', 'right')[number % 2]}",
    ),
    "planet-understanding-the-amazon-from-space": Known(
        ("agriculture", "clear", "haze", "primary", "water"), ("multi_label", "list", "samples_f2"),
        "train-jpg/{id}.jpg", "test-jpg-v2/{id}.jpg", {"train_v2.csv": ("image_name,tags", "{id},{label}")},
        sample=("sample_submission_v2.csv", "image_name,tags", "{id},primary clear agriculture water"),
        ids=side("train_{}", "test_{}"), delimiter=" ", needs={"metric": "mean F2 score"},
    ),
    "human-protein-atlas-image-classification": Known(
        ("0", "2", "16", "25"), ("multi_label", "list", "macro_f1"), "train/{id}_green.png", "test/{id}_green.png",
        {"train.csv": ("Id,Target", "{id},{label}")}, sample=("sample_submission.csv", "Id,Predicted", "{id},0"), delimiter=" ",
        also=("{side}/{id}_red.png", "{side}/{id}_blue.png"),
        needs={"allow": ["image without row"], "train_images": "train/{Id}_green.png", "test_images": "test/{Id}_green.png", "metric": "macro_f1"},
        stops=("may hold the train images", "competition.train_images: 'train/{Id}_green.png'"),
    ),
    "imet-2020-fgvc7": Known(
        ("0", "13", "147", "616", "813"), ("multi_label", "list", "samples_f1"), "train/{id}.png", "test/{id}.png",
        {"train.csv": ("id,attribute_ids", "{id},{label}")}, sample=("sample_submission.csv", "id,attribute_ids", "{id},0 13 147"),
        delimiter=" ", more={"labels.csv": "attribute_id,attribute_name\n0,country::afghan\n13,country::alamania\n147,tags::cat\n616,x\n813,y\n"},
    ),
    "multi-label-classification-competition-2023 (COMP5329)": Known(
        ("1", "3", "8", "13", "19"), ("multi_label", "list", "samples_f1"), "data/{id}", "data/{id}",
        {"train.csv": ("ImageID,Labels,Caption", '{id},{label},"A sign that reads "exit", left of a door"')},
        {"test.csv": ("ImageID,Caption", '{id},"A "dog" in a "bus""')}, ("Kaggle_submission.csv", "ImageID,Labels", "{id},1 3"),
        lambda number: f"{number}.jpg", delimiter=" ",
    ),
    "humpback-whale-identification": Known(
        WHALES, ("single_label", "ranked", "map@5"), "train/{id}", "test/{id}", {"train.csv": ("Image,Id", "{id},{label}")},
        sample=("sample_submission.csv", "Image,Id", "{id},new_whale w_1287fbc w_98baff9 w_7554f44 w_1eafe46"),
        ids=lambda number: hashed(number)[:8] + ".jpg",
    ),
    "happy-whale-and-dolphin": Known(
        ("37c7aba965a5", "114207cab555", "a6e325d8e924", "19fbb960f07d", "c995c043c353"), ("single_label", "ranked", "map@5"),
        "train_images/{id}", "test_images/{id}", {"train.csv": ("image,species,individual_id", "{id},beluga{chain},{label}")},
        sample=("sample_submission.csv", "image,predictions", "{id},37c7aba965a5 114207cab555 a6e325d8e924 19fbb960f07d c995c043c353"),
        ids=lambda number: hashed(number)[:14] + ".jpg",
    ),
    "hotel-id-2021-fgvc8": Known(
        ("18807", "36363", "53586", "64314", "68133"), ("single_label", "ranked", "map@5"), "train_images/{chain}/{id}", "test_images/{id}",
        {"train.csv": ("image,chain,hotel_id,timestamp", "{id},{chain},{label},2018-01-{day} 00:{day}")},
        sample=("sample_submission.csv", "image,hotel_id", "{id},36363 53586 18807 64314 68133"),
        ids=lambda number: hashed(number)[:16] + ".jpg",
    ),
    "rsna-intracranial-hemorrhage-detection": Known(
        BLEEDS, ("multi_label", "long", "log_loss"), "stage_2_train/{id}.png", "stage_2_test/{id}.png",
        {"stage_2_train.csv": ("ID,Label", "{id}_{each},{has}")},
        sample=("stage_2_sample_submission.csv", "ID,Label", "{id}_{each},0.5"), ids=lambda number: "ID_" + hashed(number)[:9],
        delimiter=" ", needs={"metric": "log_loss"},
    ),
    "siim-isic-melanoma-classification": Known(
        ("0", "1"), SCORE, "jpeg/train/{id}.jpg", "jpeg/test/{id}.jpg",
        {"train.csv": ("image_name,patient_id,sex,age_approx,anatom_site,diagnosis,benign_malignant,target",
                       "{id},IP_{chain},{sex},45.0,torso,{diagnosis},{word},{label}")},
        {"test.csv": ("image_name,patient_id,sex,age_approx,anatom_site", "{id},IP_{chain},{sex},45.0,torso")},
        ("sample_submission.csv", "image_name,target", "{id},0"), lambda number: f"ISIC_00{15719 + number}", needs={"metric": "auc"},
        more={"tfrecords/train00-2071.tfrec": "x"},
    ),
    "isic-2024-challenge": Known(
        ("0", "1"), SCORE, "train-image/image/{id}.jpg", "test-image/{id}.jpg",
        {"train-metadata.csv": ("isic_id,target,patient_id,age_approx,sex", "{id},{label},IP_{chain},60.0,{sex}")},
        {"test-metadata.csv": ("isic_id,patient_id,age_approx,sex", "{id},IP_{chain},60.0,{sex}")},
        ("sample_submission.csv", "isic_id,target", "{id},0.3"), lambda number: f"ISIC_00{15670 + number}",
    ),
    "mnist as jpg": Known(
        GRADES, LABEL, "trainingSet/trainingSet/{label}/img_{id}.jpg", "testSet/testSet/img_{id}.jpg",
        sample=("sampleSubmission.csv", "ImageId,Label", "{id},0"), ids=side("{}", "{}"), read_id="{label}/img_{id}.jpg",
    ),
    "aerial-cactus-identification": Known(
        ("0", "1"), SCORE, "train/{id}", "test/{id}", {"train.csv": ("id,has_cactus", "{id},{label}")},
        sample=("sample_submission.csv", "id,has_cactus", "{id},0.5"), ids=lambda number: hashed(number) + ".jpg",
    ),
    "plant-seedlings-classification": Known(
        SEEDLINGS, LABEL, "train/{label}/{id}", "test/{id}", sample=("sample_submission.csv", "file,species", "{id},Charlock"),
        ids=lambda number: hashed(number)[:9] + ".png", read_id="{label}/{id}",
    ),
    "invasive-species-monitoring": Known(
        ("0", "1"), SCORE, "train/{id}.jpg", "test/{id}.jpg", {"train_labels.csv": ("name,invasive", "{id},{label}")},
        sample=("sample_submission.csv", "name,invasive", "{id},0.5"), ids=side("{}", "{}"),
    ),
    "cifar-10": Known(
        ("airplane", "automobile", "bird"), LABEL, "train/{id}.png", "test/{id}.png", {"trainLabels.csv": ("id,label", "{id},{label}")},
        sample=("sampleSubmission.csv", "id,label", "{id},cat"), ids=side("{}", "{}"),
    ),
    "conser-vision (DrivenData)": Known(
        ("antelope_duiker", "bird", "blank", "civet_genet"), ("single_label", "columns", "log_loss"),
        "train_features/{id}.jpg", "test_features/{id}.jpg",
        {"train_features.csv": ("id,filepath,site", "{id},train_features/{id}.jpg,S00{chain}"), "train_labels.csv": ("id,{classes}", "{id},{floats}")},
        {"test_features.csv": ("id,filepath,site", "{id},test_features/{id}.jpg,S01{chain}")},
        ("submission_format.csv", "id,{classes}", "{id},0.25,0.25,0.25,0.25"), side("ZJ{:06d}", "ZT{:06d}"),
    ),
    "예술 작품 화가 분류 (Dacon)": Known(
        ("Albrecht Du rer", "Vincent van Gogh", "Francisco Goya", "Edgar Degas"), LABEL, "train/{id:0>4}.jpg", "test/{id}.jpg",
        {"train.csv": ("id,img_path,artist", "{id},./train/{id:0>4}.jpg,{label}"), "artists_info.csv": ("name,years,genre", "{label} {n},1819-1900,x")},
        {"test.csv": ("id,img_path", "{id},./test/{id}.jpg")}, ("sample_submission.csv", "id,artist", "{id},Edgar Degas"), side("{}", "TEST_{:05d}"),
    ),
    "도배 하자 유형 분류 (Dacon)": Known(
        ("가구수정", "걸레받이수정", "곰팡이", "꼬임"), LABEL, "train/{label}/{nth}.png", "test/{id}.png", {}, {"test.csv": ("id,img_path", "{id},./test/{id}.png")},
        ("sample_submission.csv", "id,label", "{id},훼손"), side("{}", "TEST_{:03d}"), read_id="{label}/{nth}.png",
    ),
    "HAI! 중고차 이미지 차종 분류 (Dacon)": Known(
        CARS, ("single_label", "columns", "log_loss"), "train/{label}/{label}_{n:04d}.jpg", "test/{id}.jpg",
        {}, {"test.csv": ("ID,img_path", "{id},./test/{id}.jpg")}, ("sample_submission.csv", "ID,{classes}", "{id},0,0,0,0"),
        side("{}", "TEST_{:05d}"), read_id="{label}/{label}_{n:04d}.jpg",
    ),
    "dirty-mnist (Dacon)": Known(
        ("a", "b", "c", "d", "e"), ("multi_label", "columns", "element_accuracy"), "dirty_mnist_2nd/{id:0>5}.png", "test_dirty_mnist_2nd/{id}.png",
        {"dirty_mnist_2nd_answer.csv": ("index,{classes}", "{id},{columns}")}, sample=("sample_submission.csv", "index,{classes}", "{id},0,0,0,0,0"),
        ids=side("{}", "5{:04d}"), delimiter=" ", needs={"metric": "element_accuracy"},
    ),
    "imagenet-style": Known(
        ("n01440764", "n01443537", "n01484850"), LABEL, "train/{label}/{label}_{n}.JPEG", "test/{id}.JPEG",
        sample=("submission.csv", "ImageId,Label", "{id},n01440764"), ids=side("x{}", "ILSVRC2012_test_{:08d}"), read_id="{label}/{label}_{n}.JPEG",
        more={"val/ILSVRC2012_val_00000001.JPEG": "x"},
    ),
    "paddy-disease-classification": Known(
        ("bacterial_leaf_blight", "blast", "normal"), LABEL, "train_images/{label}/{id}", "test_images/{id}",
        {"train.csv": ("image_id,label,variety,age", "{id},{label},ADT{chain},4{chain}")}, sample=("sample_submission.csv", "image_id,label", "{id},"),
        ids=lambda number: f"{100001 + number}.jpg",
    ),
    "UBC-OCEAN": Known(
        ("CC", "EC", "HGSC", "LGSC"), ("single_label", "label", "balanced_accuracy"), "train_images/{id}.png", "test_images/{id}.png",
        {"train.csv": ("image_id,label,image_width,image_height,is_tma", "{id},{label},{n},1{n},False")},
        {"test.csv": ("image_id,image_width,image_height", "{id},{n},{n}")}, ("sample_submission.csv", "image_id,label", "{id},HGSC"),
        ids=lambda number: str(4 + 53 * number), also=("{side}_thumbnails/{id}_thumbnail.png",), needs={"metric": "balanced accuracy"},
    ),
    "sorghum-id-fgvc-9": Known(
        ("PI_152694", "PI_152727", "PI_152728"), LABEL, "train_images/{id}", "test/{id}",
        {"train_cultivar_mapping.csv": ("image,cultivar", "{id},{label}")}, sample=("sample_submission.csv", "filename,cultivar", "{id},PI_152694"),
        ids=lambda number: f"2017-06-{number:02d}__10-26-20-479.png",
    ),
    "ranzcr-clip-catheter-line-classification": Known(
        ("ETT - Abnormal", "ETT - Borderline", "NGT - Normal", "Swan Ganz"), ("multi_label", "columns", "mean_column_auc"), "train/{id}.jpg", "test/{id}.jpg",
        {"train.csv": ("StudyInstanceUID,{classes},PatientID", "{id},{columns},{sex}{chain}"), "train_annotations.csv": ("StudyInstanceUID,label,data", '{id},{labels[0]},"[[1, 2]]"')},
        sample=("sample_submission.csv", "StudyInstanceUID,{classes}", "{id},0,0,0,0"), ids=lambda number: f"1.2.826.0.1.3680043.8.498.{26697628953273228189 + number}", delimiter="+",
    ),
    "NIH chest x-rays": Known(
        ("Atelectasis", "Cardiomegaly", "Effusion", "Mass", "No Finding"), ("multi_label", "list", "samples_f1"), "images/{id}", "images/{id}",
        {"Data_Entry_2017.csv": ("Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age", "{id},{label},{chain},{chain},5{chain}")},
        sample=("sample_submission.csv", "Image Index,Finding Labels", "{id},No Finding"), ids=lambda number: f"{1 + number // 3:08d}_{number % 3:03d}.png", delimiter="|",
    ),
    "the-nature-conservancy-fisheries-monitoring": Known(
        ("ALB", "BET", "LAG", "NoF"), ("single_label", "columns", "log_loss"), "train/{label}/{id}", "test_stg1/{id}",
        sample=("sample_submission_stg1.csv", "image,{classes}", "{id},0.4,0.1,0.1,0.4"), ids=lambda number: f"img_{number:05d}.jpg", read_id="{label}/{id}",
        more={"sample_submission_stg2.csv": "image,ALB,BET,LAG,NoF\ntest_stg2/image_1.jpg,0.4,0.1,0.1,0.4\n", "test_stg2/image_1.jpg": "x"},
        needs={"sample": "sample_submission_stg1.csv"}, stops=("2 files may be the sample submission", "competition.sample: sample_submission_stg1.csv"),
    ),
    "intel-mobileodt-cervical-cancer-screening": Known(
        ("Type_1", "Type_2", "Type_3"), ("single_label", "columns", "log_loss"), "train/{label}/{id}", "test/{id}",
        sample=("sample_submission.csv", "image_name,{classes}", "{id},0.17,0.53,0.3"), ids=lambda number: f"{number}.jpg", read_id="{label}/{id}",
    ),
    "datasciencebowl plankton": Known(
        ("acantharia_protist", "appendicularian_s_shape", "unknown_blobs_and_smudges"), ("single_label", "columns", "log_loss"), "train/{label}/{id}", "test/{id}",
        sample=("sampleSubmission.csv", "image,{classes}", "{id},0.3,0.3,0.3"), ids=lambda number: f"{1 + 17 * number}.jpg", read_id="{label}/{id}",
    ),
    "google landmarks, labels alone": Known(
        ("1", "7", "12", "203092"), LABEL, "train/{id[0]}/{id[1]}/{id[2]}/{id}.jpg", "test/{id[0]}/{id[1]}/{id[2]}/{id}.jpg", {"train.csv": ("id,landmark_id", "{id},{label}")},
        sample=("sample_submission.csv", "id,landmarks", "{id},"),
    ),
    "one metadata.csv with a split column": Known(
        ("frost", "fogsmog", "rain"), LABEL, "train/{label}/{id}.png", "test/{id}.png",
        more={"metadata.csv": lambda replica: "path,label,split\n" + "".join(
            f"{fields['path']},{fields['label'] if fields['side'] == 'train' else ''},{fields['side']}\n" for fields in replica.train + replica.test)},
        sample=("sample_submission.csv", "path,label", "test/{id}.png,rain"), read_id="train/{label}/{id}.png",
    ),
    "herbarium-2020-fgvc7": Known(
        ("0", "1", "2", "3"), ("single_label", "label", "macro_f1"), "nybg2020/train/images/000/{chain}/{id}.jpg", "nybg2020/test/images/000/{id}.jpg",
        more={"nybg2020/train/metadata.json": coco("train", {"id": "{id}", "file_name": "images/000/{chain}/{id}.jpg", "license": "1"}, {"id": "{n}", "image_id": "{id}", "category_id": "{code}"}, {"id": "{code}", "name": "Aa {label}", "family": "A"}),
              "nybg2020/test/metadata.json": coco("test", {"id": "{id}", "file_name": "images/000/{id}.jpg"}, None, {"id": "{code}", "name": "{label}"})},
        sample=("sample_submission.csv", "Id,Predicted", "{id},0"), ids=lambda number: str(437000 + number), needs={"metric": "macro F1"},
    ),
    "herbarium-2022-fgvc9": Known(
        ("0", "1", "2", "3"), ("single_label", "label", "macro_f1"), "train_images/000/0{code}/{id}.jpg", "test_images/000/{id}.jpg",
        more={"train_metadata.json": coco("train", {"image_id": "{id}", "file_name": "000/0{code}/{id}.jpg"}, {"image_id": "{id}", "category_id": "{code}", "genus_id": "1"}, {"category_id": "{code}", "scientificName": "Abies {label}"}),
              "test_metadata.json": lambda replica: json.dumps([{"image_id": fields["id"], "file_name": f"000/{fields['id']}.jpg"} for fields in replica.test])},
        sample=("sample_submission.csv", "Id,Predicted", "{id},42"), ids=lambda number: f"00000__{number:03d}", needs={"metric": "macro F1"},
    ),
    "iwildcam-2020-fgvc7": Known(
        ("0", "1", "2", "3"), LABEL, "train/{id}.jpg", "test/{id}.jpg",
        more={"iwildcam2020_train_annotations.json": coco("train", {"id": "{id}", "file_name": "{id}.jpg", "seq_id": "s{chain}", "location": "{chain}"}, {"id": "{n}", "image_id": "{id}", "category_id": "{code}"}, {"id": "{code}", "name": "animal {label}"}),
              "iwildcam2020_test_information.json": coco("test", {"id": "{id}", "file_name": "{id}.jpg"}, None, {"id": "{code}", "name": "{label}"}),
              "iwildcam2020_megadetector_results.json": '{"images": [{"id": "x", "detections": []}], "info": {}}'},
        sample=("sample_submission.csv", "Id,Category", "{id},0"), ids=lambda number: hashed(number)[:8] + "-21bc-11ea",
    ),
    "iwheat (Zindi, ICLR 2020)": Known(
        ("leaf_rust", "stem_rust", "healthy_wheat"), ("single_label", "columns", "log_loss"), "train/{label}/{id}.jpg", "test/{id}.jpg",
        sample=("sample_submission.csv", "ID,{classes}", "{id},0,0,0"), ids=lambda number: hashed(number)[:6].upper(), read_id="{label}/{id}.jpg",
    ),
    "kenyan sign language (Zindi)": Known(
        ("Church", "Enough/Satisfied", "Friend", "Love"), ("single_label", "columns", "log_loss"), "Images/{id}.jpg", "Images/{id}.jpg",
        {"Train.csv": ("img_IDs,Label", "{id},{label}")}, {"Test.csv": ("img_IDs", "{id}")}, ("SampleSubmission.csv", "img_IDs,{classes}", "{id},0,0,0,0"),
        ids=lambda number: f"ImageID_{hashed(number)[:8].upper()}",
    ),
    "fine-grained-food (iFood 2019, FGVC6)": Known(
        ("0", "1", "2", "3"), ("single_label", "ranked", "map@3"), "train_set/{id}", "test_set/{id}", {"train_labels.csv": ("img_name,label", "{id},{label}")},
        sample=("sample_submission.csv", "img_name,label", "{id},0 1 2"), ids=side("train_{:06d}.jpg", "test_{:06d}.jpg"),
        more={"class_list.txt": "0 macaron\n1 beignet\n2 cruller\n3 cockle_food\n"},
    ),
    "crop disease (Dacon 235870)": Known(
        ("1_00_0", "2_00_0", "2_a5_2", "3_a9_1"), LABEL, "train/{id}/{id}.jpg", "test/{id}/{id}.jpg", {"train.csv": ("image,label", "{id},{label}")},
        sample=("sample_submission.csv", "image,label", "{id},1_00_0"), ids=lambda number: str(10027 + 4 * number),
        more={f"{place}/{10027 + 4 * number}/{10027 + 4 * number}.csv": "측정시각,내부 온도 1 평균\n2019-09-01 00:00:00,23.4\n"
              for place, numbers in (("train", range(NUM_TRAIN)), ("test", range(NUM_TRAIN, NUM_TRAIN + NUM_TEST))) for number in numbers},
    ),
    "inclusive-images-challenge": Known(
        ("/m/0sgh53y", "/m/0g4cd0", "/m/01g317", "/m/04hgtk"), ("multi_label", "list", "samples_f1"), "train/{id}.jpg", "stage_1_test_images/{id}.jpg",
        {"train_human_labels.csv": ("ImageID,Source,LabelName,Confidence", "{id},verification,{each},{has}.0")},
        sample=("stage_1_sample_submission.csv", "image_id,labels", "{id},/m/0sgh53y /m/0g4cd0"), delimiter=" ",
    ),
    "imaterialist-challenge-fashion-2018": Known(
        ("17", "62", "66", "137"), ("multi_label", "list", "micro_f1"), "train/{id}.jpg", "test/{id}.jpg",
        more={"train.json": entries("train", "imageId", "labelId", list), "test.json": entries("test", "imageId", None, list)},
        sample=("sample_submission.csv", "image_id,label_id", "{id},62 17 66"), ids=side("{}", "{}"), delimiter=" ", needs={"metric": "micro F1"},
    ),
    "imaterialist-challenge-furniture-2018": Known(
        ("1", "2", "3", "4"), LABEL, "train/{id}.jpg", "test/{id}.jpg",
        more={"train.json": entries("train", "image_id", "label_id", lambda labels: labels[0]), "test.json": entries("test", "image_id", None, str)},
        sample=("sample_submission_randomlabel.csv", "id,predicted", "{id},1"), ids=side("{}", "{}"),
    ),
    "tissuenet (DrivenData)": Known(
        ("0", "1", "2", "3"), ("single_label", "columns", "log_loss"), "train/{id}", "test/{id}",
        {"train_labels.csv": ("filename,{classes}", "{id},{columns}"), "train_metadata.csv": ("filename,doi,resolution", "{id},a{chain},0.25")},
        sample=("submission_format.csv", "filename,{classes}", "{id},0,0,0,1"), ids=lambda number: hashed(number)[:8] + ".png",
    ),
    "potholes (Zindi)": Known(
        ("0", "1"), ("binary", "score", "log_loss"), "all_data/all_data/{id}.JPG", "all_data/all_data/{id}.JPG",
        {"train_ids_labels.csv": ("Image_ID,Label", "{id},{label}")}, {"test_ids_only.csv": ("Image_ID", "{id}")},
        ("sample_submission.csv", "Image_ID,Label", "{id},0"), lambda number: hashed(number)[:15].upper(), needs={"metric": "log_loss"}, stops=("How is it scored?",),
    ),
}  # fmt: skip
REFUSED = {
    "bengaliai-cv19": (Known(
        GRADES, LABEL, "train/{id}.png", "test/{id}.png",
        {"train.csv": ("image_id,grapheme_root,vowel_diacritic,consonant_diacritic,grapheme", "{id},{label},{code},{chain},x")}, {"test.csv": ("image_id,row_id,component", "{id},{id}_grapheme_root,grapheme_root")},
        ("sample_submission.csv", "row_id,target", "{id}_consonant_diacritic,0\n{id}_grapheme_root,0\n{id}_vowel_diacritic,0"), side("Train_{}", "Test_{}"),
    ), ("hold '2', '3', '4', not 0 and 1: several targets an image",)),
    "petfinder-pawpularity-score": (Known(
        tuple(map(str, range(20, 38))), LABEL, "train/{id}.jpg", "test/{id}.jpg", {"train.csv": ("Id,Subject Focus,Eyes,Face,Pawpularity", "{id},0,1,1,{label}")},
        {"test.csv": ("Id,Subject Focus,Eyes,Face", "{id},0,1,1")}, ("sample_submission.csv", "Id,Pawpularity", "{id},49.5"),
    ), ("writes '49.5' in 'Pawpularity', a number", "regression cannot be learnt here", "competition.submission: label")),
    "landmark-recognition-2021": (Known(
        ("1", "7", "12", "203092"), LABEL, "train/{id[0]}/{id[1]}/{id[2]}/{id}.jpg", "test/{id[0]}/{id[1]}/{id[2]}/{id}.jpg", {"train.csv": ("id,landmark_id", "{id},{label}")},
        sample=("sample_submission.csv", "id,landmarks", "{id},203092 0.1"),
    ), ("writes '203092 0.1' in 'landmarks', a label with a confidence", "competition.submission: label")),
    "alaska2-image-steganalysis": (Known(
        ("Cover", "JMiPOD", "JUNIWARD", "UERD"), LABEL, "{label}/{n:05d}.jpg", "Test/{id}.jpg", sample=("sample_submission.csv", "Id,Label", "{id},0.5"), ids=side("{}", "{:04d}"),
    ), ("writes '0.5' in 'Label', a number where one of 4 labels",)),
    "galaxy-zoo-the-galaxy-challenge": (Known(
        ("Class1.1", "Class1.2", "Class1.3"), LABEL, "images_training/{id}.jpg", "images_test/{id}.jpg", {"training_solutions.csv": ("GalaxyID,{classes}", "{id},0.38{n},0.6,0.01")},
        sample=("all_zeros_benchmark.csv", "GalaxyID,{classes}", "{id},0,0,0"), ids=lambda number: str(100008 + number),
    ), ("hold '0.01', '0.380',", "numbers (regression)")),
    "wind-dependent-variables (DrivenData)": (Known(
        tuple(map(str, range(30, 45))), LABEL, "train/{id}.jpg", "test/{id}.jpg", {"training_set_labels.csv": ("image_id,wind_speed", "{id},{label}")},
        sample=("submission_format.csv", "image_id,wind_speed", "{id},0"), ids=side("abs_{:03d}", "acd_{:03d}"),
    ), ("'wind_speed' holds 15 whole numbers", "competition.target: single_label")),
    "turtle-recall (Zindi)": (Known(
        ("t_id_d6aY", "t_id_8b8s", "t_id_Dh7g"), LABEL, "images/{id}.JPG", "images/{id}.JPG", {"train.csv": ("image_id,image_location,turtle_id", "{id},left,{label}")}, {"test.csv": ("image_id,image_location", "{id},top")},
        ("sample_submission.csv", "image_id,prediction1,prediction2", "{id},t_id_d6aY,new_turtle"), lambda number: "ID_" + hashed(number)[:8].upper(),
    ), ("asks for 'prediction1', 'prediction2', and writes labels there", "several guesses")),
    "hateful-memes (DrivenData)": (Known(
        ("0", "1"), LABEL, "img/{id}.png", "img/{id}.png", {"train.csv": ("id,img,label", "{id},img/{id}.png,{label}")}, {"test.csv": ("id,img", "{id},img/{id}.png")},
        ("submission_format.csv", "id,proba,label", "{id},0.5,0"), lambda number: str(42953 + 7 * number),
    ), ("asks for 'proba', 'label': several answers an image",)),
    "csiro-biomass": (Known(
        tuple(map(str, range(20, 38))), LABEL, "train/{id}.jpg", "test/{id}.jpg",
        {"train.csv": ("sample_id,image_path,State,target_name,target", "{id}__Dry_Green_g,train/{id}.jpg,Tas,Dry_Green_g,16.2{n}\n{id}__GDM_g,train/{id}.jpg,Tas,GDM_g,3.5{n}")},
        {"test.csv": ("sample_id,image_path,target_name", "{id}__Dry_Green_g,test/{id}.jpg,Dry_Green_g\n{id}__GDM_g,test/{id}.jpg,GDM_g")},
        ("sample_submission.csv", "sample_id,target", "{id}__Dry_Green_g,0.0\n{id}__GDM_g,0.0"), side("ID1011485{:03d}", "ID1001187{:03d}"),
    ), ("train.csv has long ids in 'sample_id'; 0 of its columns", "numbers other than 0 and 1")),
    "hubmap-kidney-segmentation": (Known(
        ("Female", "Male"), LABEL, "train/{id}.tiff", "test/{id}.tiff",
        {"train.csv": ("id,encoding", "{id},2960{n} 4 2961{n} 6"), "HuBMAP-20-dataset_information.csv": ("image_file,width_pixels,sex", "{id}.tiff,4378{n},{label}")},
        sample=("sample_submission.csv", "id,predicted", "{id},"),
    ), ("train.csv names images and has no column that could be the label (id, encoding)", "competition.train_table: HuBMAP-20-dataset_information.csv")),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_schema_is_read(tmp_path, name):
    known = KNOWN[name]
    replica = Replica(known)
    path = write_zip(tmp_path / "raw.zip", replica.files)
    if known.stops:
        with pytest.raises(ValueError) as error:
            sound_layout(path)
        assert all(piece in str(error.value) for piece in known.stops), error.value
    layout = sound_layout(path, **known.needs)
    assert (layout.target.kind, layout.submission.kind, layout.metric) == known.reads
    assert set(layout.target.classes) == set(known.classes)
    train = zip(layout.train_ids, layout.train_members, layout.train_labels, strict=True)
    assert sorted((image_id, member, labels_in(label, layout)) for image_id, member, label in train) == sorted(
        (known.read_id.format(**fields), fields["path"], sorted(fields["labels"])) for fields in replica.train
    )
    assert list(zip(layout.test_ids, layout.test_members, strict=True)) == [
        (replica.test_id(fields), fields["path"]) for fields in replica.test
    ]
    assert layout.sample == replica.sample


def labels_in(cell, layout):
    return [cell] if layout.target.exclusive else sorted(several_labels(cell))


@pytest.mark.parametrize("name", KNOWN)
def test_right_probabilities_become_a_submission_without_fault(tmp_path, name):
    known = KNOWN[name]
    replica = Replica(known)
    layout = sound_layout(write_zip(tmp_path / "raw.zip", replica.files), **known.needs)
    probs = np.random.default_rng(0).uniform(0.01, 0.2, (len(replica.test), len(layout.target.classes)))
    for row, fields in enumerate(replica.test):
        probs[row, [layout.target.classes.index(label) for label in fields["labels"]]] = 0.9
    if layout.target.exclusive:
        probs /= probs.sum(axis=1, keepdims=True)
    answers = answers_of(probs, decide(probs, layout.target, Decision()), layout.target, layout.submission)
    cells = row_cells(answers, layout.test_ids, layout)
    content = make_submission(layout.sample, layout, cells)
    assert not [finding for finding in check_submission(content, layout.sample, layout) if finding.refused]
    if len(replica.test) > 1:
        assert graded(replica.made_up(layout.submission), content)[0] == 1.0


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_target_here_can_answer_is_refused(tmp_path, name):
    known, pieces = REFUSED[name]
    path = write_zip(tmp_path / "raw.zip", Replica(known).files)
    with pytest.raises(ValueError) as error:
        sound_layout(path)
    assert all(piece in str(error.value) for piece in pieces), error.value


# -- what else tables and folders may look like: one plain competition, said in other ways

IMAGE = Replica(KNOWN["dog-breed-identification"]).files[f"train/{hashed(0)}.jpg"]


def plain(
    *, train="train/{}.png", test="test/{}.png", labels=("cat", "dog", "owl"), ids="{:03d}", listed="{}", sample=None
):
    """A table `id,label`; listed: how the train table spells ids."""
    train_ids, test_ids = ([ids.format(number) for number in numbers] for numbers in (range(18), range(900, 905)))
    files = {train.format(name): IMAGE for name in train_ids} | {test.format(name): IMAGE for name in test_ids}
    rows = [(listed.format(name), labels[at % len(labels)]) for at, name in enumerate(train_ids)]
    files["train.csv"] = csv_bytes(("id", "label"), rows)
    files["sample_submission.csv"] = csv_bytes(("id", "label"), [(name, sample or labels[0]) for name in test_ids])
    return files


def tables_as(change):
    return {name: change(content) if name.endswith(".csv") else content for name, content in plain().items()}


# name -> (files, template of the train images, of the test images, target, submission)
FORMS = {
    "BOM": (tables_as(lambda content: b"\xef\xbb\xbf" + content), "train/{id}.png", "test/{id}.png", "single_label", "label"),
    "CRLF": (tables_as(lambda content: content.replace(b"\n", b"\r\n")), "train/{id}.png", "test/{id}.png", "single_label", "label"),
    "semicolons": (tables_as(lambda content: content.replace(b",", b";")), "train/{id}.png", "test/{id}.png", "single_label", "label"),
    "UTF-16": (tables_as(lambda content: content.decode().encode("utf-16")), "train/{id}.png", "test/{id}.png", "single_label", "label"),
    "suffix in capitals": (plain(train="train/{}.JPG", test="test/{}.JPG"), "train/{id}.JPG", "test/{id}.JPG", "single_label", "label"),
    "suffix in capitals, listed small": (plain(train="train/{}.JPG", listed="{}.jpg"), "train/{id:stem}.JPG", "test/{id}.png", "single_label", "label"),
    "folders that the column called label names": (
        {name.replace("train/", f"train/{label}/"): image for (name, image), label in zip(plain(labels=("cat", "dog")).items(), ("cat", "dog") * 9, strict=False)} | {name: content for name, content in plain(labels=("cat", "dog")).items() if not name.startswith("train/")},
        "train/{label}/{id}.png", "test/{id}.png", "single_label", "label",
    ),
    "names that hold more than is listed": (plain(train="train/{}_small.png", listed="{}.jpg"), "train/{id:stem}_small.png", "test/{id}.png", "single_label", "label"),
    "another suffix listed": (plain(listed="{}.tif"), "train/{id:stem}.png", "test/{id}.png", "single_label", "label"),
    "paths of another machine": (plain(listed="/kaggle/input/comp/train/{}.png"), "train/{id:stem}.png", "test/{id}.png", "single_label", "label"),
    "paths of Windows": (plain(listed="train\\{}.png"), "{id}", "test/{id}.png", "single_label", "label"),
    "folders with spaces": (plain(train="train images/{}.png", test="test images/{}.png"), "train images/{id}.png", "test images/{id}.png", "single_label", "label"),
    "dots in ids": (plain(ids="IMG.{}.2"), "train/{id}.png", "test/{id}.png", "single_label", "label"),
    "numbers, some part of others": (plain(ids="{}", train="train/img{}.png", test="test/img_{}.png"), "train/img{id}.png", "test/img_{id}.png", "single_label", "label"),
    "numbers padded in the names": (plain(ids="{}", train="train/{:0>5}.png", test="test/{:0>5}.png"), "train/{id:05d}.png", "test/{id:05d}.png", "single_label", "label"),
    "test images in two folders": (
        {name.replace("test/", "test/a/" if name[-5] in "02" else "test/b/"): content for name, content in plain().items()},
        "train/{id}.png", "test/**/{id}.png", "single_label", "label",
    ),
    "masks beside the images": (
        plain() | {name.replace("/", "/masks/"): IMAGE for name in plain() if "/" in name}, "train/{id}.png", "test/{id}.png", "single_label", "label",
    ),
    "other tables": (
        plain() | {"classes.csv": b"label,name\ncat,Felis\ndog,Canis\nowl,Strix\n", "folds.csv": csv_bytes(("id", "fold"), [(f"{n:03d}", n % 3) for n in range(18)])},
        "train/{id}.png", "test/{id}.png", "single_label", "label",
    ),
    "index columns": (
        tables_as(lambda content: b"\n".join((b"Unnamed: 0," if at == 0 else b"%d," % (at - 1)) + line for at, line in enumerate(content.splitlines())) + b"\n"),
        "train/{id}.png", "test/{id}.png", "single_label", "label",
    ),
    "codes with gaps": (plain(labels=("3", "7", "20")), "train/{id}.png", "test/{id}.png", "single_label", "label"),
    "True and False, a score": (plain(labels=("True", "False"), sample="0.5"), "train/{id}.png", "test/{id}.png", "binary", "score"),
    "1.0 and 0.0, a score": (plain(labels=("1.0", "0.0"), sample="0.5"), "train/{id}.png", "test/{id}.png", "binary", "score"),
    "1.0, 0.0 and 2.0, a label": (plain(labels=("1.0", "0.0", "2.0"), sample="0"), "train/{id}.png", "test/{id}.png", "single_label", "label"),
    "two words, a label": (plain(labels=("cat", "dog")), "train/{id}.png", "test/{id}.png", "single_label", "label"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_form_of_table_or_folder_is_read(tmp_path, name):
    files, train, test, target, submission = FORMS[name]
    layout = sound_layout(write_zip(tmp_path / "raw.zip", files))
    assert (layout.settings["train_images"], layout.settings["test_images"]) == (train, test)
    assert (layout.target.kind, layout.submission.kind) == (target, submission)
    assert len(set(layout.train_members)) == 18 and len(set(layout.test_members)) == 5
    assert all(member.startswith("train") for member in layout.train_members)


def test_inspect_leaves_nothing_of_the_competition_before(workplace, tmp_path):
    workplace.params["competition"] |= {
        "test_images": "x/{id}.png",
        "test_table": "x.csv",
        "encoding": "cp949",
    }
    workplace.params["competition"] |= {"allow": ["image without row"], "positive": "x", "label": ["x", "y"]}
    workplace.raw = tmp_path / "before.zip"
    workplace.save()
    raw, params = write_zip(tmp_path / "raw.zip", plain()), tmp_path / "params.yaml"
    write_settings(params, raw, inspect_competition(raw, params).settings)
    section = yaml.safe_load(params.read_text())["competition"]
    assert section["allow"] == [] and section["label"] == "label" and section["encoding"] == "auto"
    assert (section["test_images"], section["test_table"], section["positive"]) == ("test/{id}.png", "none", "auto")


# -- the whole chain

WHOLE = ("herbarium-2022-fgvc9", "rsna-intracranial-hemorrhage-detection", "HAI! 중고차 이미지 차종 분류 (Dacon)")


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_inspect_and_repro_alone_give_a_submission_above_chance(tmp_path, name):
    """Schemas that this project's plans do not describe; from the zip with two commands, nothing else said."""
    project = Project(tmp_path, num_folds=2)
    project.params["train"] |= {"epochs": 16, "valid_every": 16}
    project.params["competition"]["raw"] = "data/demo/digits.zip"
    project.save()
    replica = Replica(KNOWN[name])
    write_zip(tmp_path / "raw.zip", replica.files)
    project.pipeline("inspect", "raw.zip", "--write", "--no-probe")
    project.dvc("repro")
    schema = read_schema(tmp_path / "data/competition/schema.json")
    score, chance = graded(replica.made_up(schema.submission), (tmp_path / "submissions/submission.csv").read_bytes())
    assert score > chance + 0.15
